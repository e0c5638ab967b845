import importlib
import os
import sys
import threading


def end_with_parent():
    while os.read(0, 1024):
        pass
    os._exit(0)


threading.Thread(target=end_with_parent, daemon=True).start()

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

host, port = sys.argv[1], int(sys.argv[2])
application = DomainDispatcherApplication(create_backend_app)
server = make_server(host, port, application, threaded=True, request_handler=MotoRequestHandler)
os.environ["MOTO_PORT"] = str(server.server_port)
print(server.server_port, flush=True)
# Whoever reads the port closes the pipe then; later prints go to the log.
os.dup2(2, 1)


def warm_up():
    # moto imports a service at its first request, EC2 for a second. Importing alone takes no lock of the server's,
    # so that requests are answered meanwhile.
    for service in ("sts", "iam", "secretsmanager", "ssm", "ec2", "rds"):
        importlib.import_module(f"moto.{service}.models")
        importlib.import_module(f"moto.{service}.urls")


threading.Thread(target=warm_up, daemon=True).start()
server.serve_forever()

# `HOST PORT` in argv: one server, until stdin ends. Nothing in argv: a process that has read moto and copies itself for
# each line `start LOG`, which it answers with `PID PORT`; `stop PID` ends that copy, and the end of stdin all of them.
import functools
import gc
import importlib
import importlib.util
import json
import os
import signal
import sys
import threading


def end_with(pipe):
    while os.read(pipe, 1024):
        pass
    os._exit(0)


if len(sys.argv) > 1:
    threading.Thread(target=end_with, args=(0,), daemon=True).start()

from moto import backends
from moto.core import responses
from moto.moto_api._internal import mock_random
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server


class Dispatcher(DomainDispatcherApplication):
    # It searches a hundred patterns, and lists moto's folder, at every request.
    get_backend_for_host = functools.cache(DomainDispatcherApplication.get_backend_for_host)
    turn = threading.Lock()

    # moto's dictionaries change under whoever goes through them: calls at the same time fail with 500 now and then. One
    # after the other they take no longer, as Python runs one thread at a time anyway.
    def __call__(self, environ, start_response):
        with self.turn:
            return super().__call__(environ, start_response)


class RequestHandler(MotoRequestHandler):
    # The gateway keeps its connections: a new one, and a thread for it, took as long as the answer.
    protocol_version = "HTTP/1.1"
    # Head and body are two writes; without this the second waits for the other side's acknowledgement of the first.
    disable_nagle_algorithm = True

    # The gateway's journal has every request. What fails is logged all the same.
    def log_request(self, code="-", size="-"):
        pass


def keep_policies(*prefixes):
    # moto reads a thousand managed policies into each new account, and an account is new after each reset: 0.3 s.
    name = "moto.iam.aws_managed_policies"
    path = os.path.join(os.path.dirname(backends.__file__), "iam", "aws_managed_policies.py")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    policies = json.loads(module.aws_managed_policies_data)
    kept = {name: policy for name, policy in policies.items() if name.startswith(prefixes)}
    module.aws_managed_policies_data = json.dumps(kept)
    sys.modules[name] = module


keep_policies("AmazonSSM", "AmazonRDS", "AmazonEC2", "CloudWatch")
# It inspects a class of six hundred methods at every request.
responses.method_names_from_class = functools.cache(responses.method_names_from_class)
modules = tuple(backends.list_of_moto_modules())
backends.list_of_moto_modules = lambda: modules


def warm_up():
    # moto imports a service at its first request, EC2 for a second. Importing alone takes no lock of the server's,
    # so that requests are answered meanwhile.
    for service in ("sts", "iam", "secretsmanager", "ssm", "ec2", "rds", "sns", "cloudwatch", "logs"):
        importlib.import_module(f"moto.{service}.models")
        importlib.import_module(f"moto.{service}.urls")


def serve(host, port, tell):
    # What moto makes it keeps; looking for garbage among it took a twelfth of its time.
    gc.set_threshold(50_000, 20, 20)
    server = make_server(host, port, Dispatcher(create_backend_app), threaded=True, request_handler=RequestHandler)
    os.environ["MOTO_PORT"] = str(server.server_port)
    tell(server.server_port)
    threading.Thread(target=warm_up, daemon=True).start()
    server.serve_forever()


def tell_and_log(port):
    print(port, flush=True)
    # Whoever reads the port closes the pipe then; later prints go to the log.
    os.dup2(2, 1)


def be_copied():
    lifeline, held = os.pipe()
    for line in sys.stdin:
        task, what = line.rstrip("\n").split(" ", 1)
        if task == "stop":
            os.kill(int(what), signal.SIGKILL)
            os.waitpid(int(what), 0)
            print("gone", flush=True)
        elif os.fork() == 0:
            # Held by the original alone: it closes when that one ends, in whatever way.
            os.close(held)
            # Python gives its own generator a new seed, but not moto's.
            mock_random.seed()
            threading.Thread(target=end_with, args=(lifeline,), daemon=True).start()
            log = os.open(what, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

            def tell(port):
                print(os.getpid(), port, flush=True)
                os.dup2(log, 1)
                os.dup2(log, 2)

            serve("127.0.0.1", 0, tell)
        else:
            # After the first copy, which answers sooner for it; the second finds everything read.
            warm_up()
            gc.freeze()


if len(sys.argv) > 1:
    serve(sys.argv[1], int(sys.argv[2]), tell_and_log)
else:
    be_copied()

# `HOST PORT` in argv: one server, until stdin ends. Nothing in argv: a process that has read moto and copies itself for
# each line `start LOG`, which it answers with `PID PORT`; `stop PID` ends that copy, and the end of stdin all of them.
import contextlib
import functools
import gc
import http.client
import importlib
import importlib.util
import io
import json
import os
import signal
import sys
import threading
import traceback


def end_with(pipe):
    while os.read(pipe, 1024):
        pass
    os._exit(0)


if len(sys.argv) > 1:
    threading.Thread(target=end_with, args=(0,), daemon=True).start()

from moto import backends
from moto.core import errors, responses
from moto.moto_api._internal import mock_random
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.utilities import utils
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


def parse_headers(stream, _class):
    # As lines are all that the gateway sends; a parser for mail took a tenth of the time.
    headers = _class()
    while (line := stream.readline(65537)) not in (b"\r\n", b"\n", b""):
        name, _, value = line.decode("iso-8859-1").partition(":")
        headers[name] = value.strip()
    return headers


class RequestHandler(MotoRequestHandler):
    # werkzeug ends each connection after one answer and waits for what else might come on it: a new connection, and a
    # thread for it, took twice as long as moto's own work. So a request is read whole, and its answer has a length.
    protocol_version = "HTTP/1.1"
    # Head and body leave together; without the second line they wait for the other side's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def run_wsgi(self):
        environ = self.make_environ()
        environ["wsgi.input"] = io.BytesIO(self.rfile.read(int(environ.get("CONTENT_LENGTH") or 0)))
        start = []
        try:
            answer = self.server.app(environ, lambda *given: start.extend(given))
            with contextlib.closing(answer) if hasattr(answer, "close") else contextlib.nullcontext():
                body = b"".join(answer)
        except Exception:
            self.log("error", "%s", traceback.format_exc())
            self.close_connection = True
            self.send_error(500)
            return
        status, headers = start[:2]
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

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


def keep_images(prefix):
    # Of hundreds, each with a volume and a snapshot and read anew for each account. EC2's module takes this at its import.
    load = functools.cache(utils.load_resource)

    def load_resource(path):
        if path == "ec2/resources/amis.json" or path.startswith("ec2/resources/ecs/"):
            return []
        if path.startswith("ec2/resources/latest_amis/"):
            return [dict(image) for image in load(path) if image["name"].startswith(prefix)]
        return load(path)

    utils.load_resource = load_resource


http.client.parse_headers = parse_headers
keep_policies("AmazonSSM", "AmazonRDSEnhanced")
keep_images("al2023-ami")
# It makes a table of the service's errors for every answer that something is not there.
errors.ErrorLookupFactory = functools.cache(errors.ErrorLookupFactory)
# It inspects a class of six hundred methods at every request.
responses.method_names_from_class = functools.cache(responses.method_names_from_class)
modules = tuple(backends.list_of_moto_modules())
backends.list_of_moto_modules = lambda: modules


def warm_up():
    # moto imports a service at its first request, EC2 for a second. Importing alone takes no lock of the server's,
    # so that requests are answered meanwhile.
    for service in ("sts", "iam", "secretsmanager", "ssm", "ec2", "rds", "sns", "cloudwatch", "logs", "kms"):
        importlib.import_module(f"moto.{service}.models")
        importlib.import_module(f"moto.{service}.urls")
    # Each new account's first volume has a key, and it gives that a key pair of RSA which nobody uses: 0.05 s.
    kms = sys.modules["moto.kms.models"]
    if not hasattr(kms.generate_private_key, "cache_info"):
        kms.generate_private_key = functools.cache(kms.generate_private_key)
    kms.generate_private_key("SYMMETRIC_DEFAULT")


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

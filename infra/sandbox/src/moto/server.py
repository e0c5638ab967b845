# `HOST PORT` in argv: one server, until stdin ends, whose key is stdin's first line. Nothing in argv: a process that has read
# moto and copies itself for each line `start KEY LOG`, which it answers with `PID PORT`; `stop PID` ends that copy, and the
# end of stdin all of them. `SOCKET` in argv: the same for many at once, each over a connection, whose end ends the copies
# that were asked for over it; the process ends by itself once nobody has been connected for a while, or its socket is gone.
import copy
import functools
import gc
import hmac
import importlib
import importlib.util
import io
import json
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
import urllib.parse


def end_with(pipe):
    while os.read(pipe, 1024):
        pass
    os._exit(0)


if len(sys.argv) == 3:
    # Byte by byte: what comes after it is not ours to keep.
    own_key = b"".join(iter(lambda: os.read(0, 1).strip(), b"")).decode()
    threading.Thread(target=end_with, args=(0,), daemon=True).start()
elif len(sys.argv) == 2:
    # Before moto is read, which takes a second: whoever connects meanwhile is served after that.
    counter = socket.socket(socket.AF_UNIX)
    counter.bind(sys.argv[1])
    counter.listen(128)

os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"

import xmltodict
from moto import backends
from moto.core import errors, responses, serialize
from moto.moto_api._internal import mock_random
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.utilities import utils


class NoSuchService(Exception):
    pass


class Dispatcher(DomainDispatcherApplication):
    # It searches a hundred patterns, and lists moto's folder, at every request.
    get_backend_for_host = functools.cache(DomainDispatcherApplication.get_backend_for_host)


class Server:
    """HTTP/1.1 for one client, the gateway, which sends whole requests with their length and keeps its connections.

    werkzeug's server ends each connection after one answer, and has a thread for it: that took twice as long as moto's own
    work. Nor may two threads be in moto at a time: its dictionaries change under whoever goes through them.
    """

    def __init__(self, host, port, app, key):
        # Anybody on this machine can connect, and any page of a browser can post.
        self.app, self.key = app, key.encode()
        self.known = {}
        self.listener = socket.create_server((host, port))
        self.port = self.listener.getsockname()[1]
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, None)

    def serve_forever(self):
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    connection, _ = self.listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.selector.register(connection, selectors.EVENT_READ, bytearray())
                    continue
                try:
                    is_open = self.read(key.fileobj, key.data)
                except OSError:
                    is_open = False
                except Exception:
                    # What is no HTTP ends its own connection, not the server.
                    traceback.print_exc()
                    is_open = False
                if not is_open:
                    self.selector.unregister(key.fileobj)
                    key.fileobj.close()

    def read(self, connection, received):
        chunk = connection.recv(1 << 16)
        received += chunk
        while (end := received.find(b"\r\n\r\n")) >= 0:
            first, *lines = bytes(received[:end]).decode("latin-1").split("\r\n")
            headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
            length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
            shown = [value for name, value in headers if name.lower() == "x-drawbridge-key"]
            if len(shown) != 1 or not hmac.compare_digest(shown[0].encode(), self.key):
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return False
            if len(received) < end + 4 + length:
                break
            headers = [header for header in headers if header[0].lower() != "x-drawbridge-key"]
            body = bytes(received[end + 4 : end + 4 + length])
            del received[: end + 4 + length]
            connection.sendall(self.answer(first.split(" "), headers, body))
            # Tools that look at moto itself, unlike the gateway, end theirs after one answer.
            is_last = any(name.lower() == "connection" and value.lower() == "close" for name, value in headers)
            if is_last or not first.endswith("HTTP/1.1"):
                return False
        # No head is as long, and who has no key may not have it kept.
        return bool(chunk) and (end >= 0 or len(received) < 1 << 16)

    def answer(self, first, headers, body):
        # Most questions were asked before, by the task before this one or while it waits, and nothing has changed since.
        service, question = question_of(first, headers, body)
        if question is None:
            for name in CHANGED_BY.get(service, tuple(self.known)):
                self.known.pop(name, None)
            return self.ask(first, headers, body)
        known = self.known.setdefault(service, {})
        if question not in known:
            known[question] = self.ask(first, headers, body)
        return known[question]

    def ask(self, first, headers, body):
        method, target = first[:2]
        path, _, query = target.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": urllib.parse.unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "REQUEST_URI": target,
            "RAW_URI": target,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(self.port),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in headers:
            name = name.upper().replace("-", "_")
            environ[name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + name] = value
        start = []
        try:
            parts = self.app(environ, lambda status, headers, _=None: start.extend((status, headers)))
            answer = b"".join(parts)
            if hasattr(parts, "close"):
                parts.close()
        except NoSuchService:
            # The gateway knows it by this header, and says so in the words of the caller.
            start, answer = ["501 Not Implemented", [("X-Drawbridge-No-Service", "1")]], b""
        except Exception:
            # The gateway's journal has every request; only what fails is told here.
            traceback.print_exc()
            start, answer = ["500 Internal Server Error", []], b""
        status, headers = start
        lines = [f"HTTP/1.1 {status}"]
        lines += [f"{name}: {value}" for name, value in headers if name.lower() != "content-length"]
        lines += [f"Content-Length: {len(answer)}", "", ""]
        return "\r\n".join(lines).encode("latin-1") + (b"" if method == "HEAD" else answer)


READS = (
    "Describe",
    "List",
    "GetCallerIdentity",
    "GetInstanceProfile",
    "GetParameter",
    "GetPolicy",
    "GetRole",
    "GetSubscriptionAttributes",
    "GetTopicAttributes",
)

# Whose answers a change may touch: a volume makes a key, a database lies in subnets and has a secret. What is not here may
# touch all.
CHANGED_BY = {
    "ec2": ("ec2", "kms", "rds"),
    "iam": ("iam", "sts"),
    "kms": ("kms",),
    "logs": ("logs",),
    "monitoring": ("monitoring",),
    "secretsmanager": ("secretsmanager",),
    "sns": ("sns",),
    "ssm": ("ssm",),
}


def question_of(first, headers, body):
    """Returns the service and what an answer depends on, beside what was changed; nothing for that if the request may
    change something itself."""
    values = {name.lower(): value for name, value in headers}
    # AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ..
    scope = values.get("authorization", "").partition(",")[0].split("/")
    service = scope[3] if len(scope) == 5 else None
    if first[:2] != ["POST", "/"]:
        return service, None
    target = values.get("x-amz-target", "")
    operation = target.rpartition(".")[2] or body.partition(b"&")[0].decode("latin-1").removeprefix("Action=")
    # Many that begin with `Get` give something new each time, or note that they were asked.
    if service is None or not operation.startswith(READS):
        return service, None
    # The signature is new each time; what it is for is not.
    return service, (values.get("host"), *scope, values.get("x-amz-security-token"), target, body)


def quicken_answers():
    # To write an answer takes moto longer than to find it: for each member of each shape it thinks of all names that
    # the attribute might have, and of all places that might have a rule.
    names, rules = {}, {}
    think = serialize.XFormedAttributePicker.get_possible_keys

    def possible_keys(self, context):
        place = (context.shape, context.key, type(context.obj))
        if place not in names:
            names[place] = tuple(dict.fromkeys(think(self, context)))
        return names[place]

    def applies(path, key):
        parent, dot, last = path.rpartition(".")
        return last == key if dot else key.endswith(path)

    def pick(self, context):
        for name in possible_keys(self, context):
            value = serialize.get_value(context.obj, name, serialize.MISSING)
            if value is not serialize.MISSING:
                break
        else:
            value = None
        if not self.response_transformers:
            return value
        # They belong to a class, and live as long as that.
        place = (id(self.response_transformers), context.key)
        if place not in rules:
            rules[place] = [rule for rule in self.response_transformers.items() if applies(rule[0], context.key)]
        for path, transform in rules[place]:
            if f"{context.key_path}.{context.key}".endswith(path):
                return transform(value)
        return value

    serialize.XFormedAttributePicker.get_possible_keys = possible_keys
    serialize.XFormedAttributePicker.__call__ = pick
    xmltodict._validate_name = functools.cache(xmltodict._validate_name)


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


keep_policies("AmazonSSM", "AmazonRDSEnhanced")
keep_images("al2023-ami")
quicken_answers()
# It makes a table of the service's errors for every answer that something is not there.
errors.ErrorLookupFactory = functools.cache(errors.ErrorLookupFactory)
# It inspects a class of six hundred methods at every request.
responses.method_names_from_class = functools.cache(responses.method_names_from_class)
modules = tuple(backends.list_of_moto_modules())
backends.list_of_moto_modules = lambda: modules


def know_rules_as_ec2_does():
    # EC2 knows a rule by what it lets through; moto by what is written beside it as well, so that it finds none without.
    rule = sys.modules["moto.ec2.models.security_groups"].SecurityGroupRule
    if hasattr(rule, "with_notes"):
        return
    rule.with_notes = rule.__eq__

    def bare(one):
        one = copy.copy(one)
        one.source_group = {key: one.source_group[key] for key in ("GroupId", "UserId") if key in one.source_group}
        return one

    rule.__eq__ = lambda self, other: bare(self).with_notes(bare(other))


def warm_up():
    # moto imports a service at its first request, EC2 for a second. Importing alone takes no lock of the server's,
    # so that requests are answered meanwhile.
    for service in ("sts", "iam", "secretsmanager", "ssm", "ec2", "rds", "sns", "cloudwatch", "logs", "kms"):
        importlib.import_module(f"moto.{service}.models")
        importlib.import_module(f"moto.{service}.urls")
    know_rules_as_ec2_does()
    # Each new account's first volume has a key, and it gives that a key pair of RSA which nobody uses: 0.05 s.
    kms = sys.modules["moto.kms.models"]
    if not hasattr(kms.generate_private_key, "cache_info"):
        kms.generate_private_key = functools.cache(kms.generate_private_key)
    kms.generate_private_key("SYMMETRIC_DEFAULT")


def create_app(service):
    # moto itself fails there, with a 500 that clients try again for nothing.
    if service is None:
        raise NoSuchService
    return create_backend_app(service)


app = Dispatcher(create_app)


def rehearse():
    # The first question of a kind has moto read a model or a template, and make a table of names. All copies begin with
    # that; of what was made meanwhile they find nothing.
    stage = Server("127.0.0.1", 0, app, "")

    def ask(service, body, target=None):
        scope = f"AWS4-HMAC-SHA256 Credential=rehearsal/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host"
        headers = [("Host", f"{service}.us-east-1.amazonaws.com"), ("Authorization", scope)]
        kind = "x-amz-json-1.1" if target else "x-www-form-urlencoded"
        headers += [("Content-Type", f"application/{kind}"), ("Content-Length", str(len(body)))]
        headers += [("X-Amz-Target", target)] if target else []
        stage.ask(["POST", "/"], headers, body.encode())

    for service, version, questions in (
        ("sts", "2011-06-15", "GetCallerIdentity"),
        (
            "ec2",
            "2016-11-15",
            "CreateVpc&CidrBlock=10.9.0.0/16 DescribeVpcs DescribeSubnets DescribeRouteTables DescribeInternetGateways "
            "DescribeNetworkAcls DescribeSecurityGroups DescribeInstances DescribeVolumes DescribeVpcEndpoints "
            "DescribeNetworkInterfaces DescribeImages",
        ),
        ("rds", "2014-10-31", "DescribeDBInstances DescribeDBSubnetGroups"),
        (
            "iam",
            "2010-05-08",
            "GetRole&RoleName=a GetInstanceProfile&InstanceProfileName=a ListAttachedRolePolicies&RoleName=a",
        ),
        ("sns", "2010-03-31", "ListTopics"),
    ):
        for question in questions.split():
            ask(service, f"Action={question}&Version={version}")
    for service, target, body in (
        ("ssm", "AmazonSSM.GetParameter", '{"Name": "a"}'),
        ("ssm", "AmazonSSM.GetParametersByPath", '{"Path": "/a"}'),
        ("secretsmanager", "secretsmanager.DescribeSecret", '{"SecretId": "a"}'),
        ("secretsmanager", "secretsmanager.ListSecrets", "{}"),
        ("monitoring", "GraniteServiceVersion20100801.DescribeAlarms", "{}"),
        ("logs", "Logs_20140328.DescribeLogGroups", "{}"),
    ):
        ask(service, body, target)
    stage.ask(["POST", "/moto-api/reset"], [("Host", "127.0.0.1")], b"")
    stage.listener.close()
    stage.selector.close()


def serve(host, port, key, tell):
    # What moto makes it keeps; looking for garbage among it took a twelfth of its time.
    gc.set_threshold(50_000, 20, 20)
    server = Server(host, port, app, key)
    os.environ["MOTO_PORT"] = str(server.port)
    tell(server.port)
    threading.Thread(target=warm_up, daemon=True).start()
    server.serve_forever()


def tell_and_log(port):
    print(port, flush=True)
    # Whoever reads the port closes the pipe then; later prints go to the log.
    os.dup2(2, 1)


class Original:
    """Copies itself on demand."""

    def __init__(self):
        # Held by the original alone: it closes when that one ends, in whatever way.
        self.lifeline, self.held = os.pipe()
        self.copies = 0

    def start(self, key, log, answers, others):
        """Starts a copy with that key, which tells its id and its port into `answers`, closes `others`, and logs there."""
        if pid := os.fork():
            self.copies += 1
            if self.copies == 2:
                # Whoever has one sandbox needs none of it, and who has two will have more; these find everything read.
                warm_up()
                rehearse()
                gc.freeze()
            return pid
        os.close(self.held)
        for other in others:
            other.close()
        # Python gives its own generator a new seed, but not moto's.
        mock_random.seed()
        threading.Thread(target=end_with, args=(self.lifeline,), daemon=True).start()
        log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

        def tell(port):
            os.write(answers, f"{os.getpid()} {port}\n".encode())
            os.dup2(log, 1)
            os.dup2(log, 2)
            if answers > 2:
                os.close(answers)

        serve("127.0.0.1", 0, key, tell)

    def stop(self, pid):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def be_copied():
    original = Original()
    for line in sys.stdin:
        task, what = line.rstrip("\n").split(" ", 1)
        if task == "stop":
            original.stop(int(what))
            print("gone", flush=True)
        else:
            original.start(*what.split(" ", 1), 1, ())


# How long nobody may be connected before it ends, and how often it looks whether its socket is still there, in seconds.
IDLE, LOOK = 60, 5


def be_shared(path):
    original, callers = Original(), {}
    selector = selectors.DefaultSelector()

    def take():
        caller, _ = counter.accept()
        # What was received and is no whole line yet, and the copies that were asked for.
        callers[caller] = (bytearray(), set())
        selector.register(caller, selectors.EVENT_READ)

    def obey(caller):
        received, copies = callers[caller]
        try:
            chunk = caller.recv(1 << 16)
        except OSError:
            chunk = b""
        if not chunk:
            for pid in copies:
                original.stop(pid)
            selector.unregister(caller)
            del callers[caller]
            caller.close()
            return
        received += chunk
        while (end := received.find(b"\n")) >= 0:
            task, what = received[:end].decode().split(" ", 1)
            del received[: end + 1]
            if task == "start":
                others = [counter, selector, *(other for other in callers if other is not caller)]
                copies.add(original.start(*what.split(" ", 1), caller.fileno(), others))
                continue
            if int(what) in copies:
                copies.remove(int(what))
                original.stop(int(what))
            try:
                caller.sendall(b"gone\n")
            except OSError:
                # Its end is read next.
                pass

    selector.register(counter, selectors.EVENT_READ)
    idle, is_open = 0, True
    while True:
        events = selector.select(LOOK)
        for key, _ in events:
            take() if key.fileobj is counter else obey(key.fileobj)
        idle = 0 if callers or events else idle + LOOK
        if is_open and (idle >= IDLE or not os.path.exists(path)):
            is_open = False
            if os.path.exists(path):
                os.unlink(path)
            # Who connected before that is served; nobody comes after them.
            selector.unregister(counter)
            counter.setblocking(False)
            try:
                while True:
                    take()
            except BlockingIOError:
                counter.close()
        if not is_open and not callers:
            return


if len(sys.argv) == 3:
    serve(sys.argv[1], int(sys.argv[2]), own_key, tell_and_log)
elif len(sys.argv) == 2:
    be_shared(sys.argv[1])
else:
    be_copied()

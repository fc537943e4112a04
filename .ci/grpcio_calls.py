"""A client and a server of gRPC that are not ours (grpcio), with `leeward gateway` between them: `.ci/grpc` runs it.

Both sides are in this process, so that each check can say what the other side is to have seen before it goes on: a message that is held
back anywhere is one that never comes. No call is made without a time in which it must be over.
"""

import base64
import hashlib
import hmac
import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent import futures

import grpc
from grpc import StatusCode as Code

# Nothing here takes longer, unless it hangs.
SOON_S = 20
# grpcio reads a time in whole milliseconds, rounded up, and its clock is as coarse.
ROUNDED_S = 0.002
# Calls of one channel that are on their way at the same time.
TOGETHER = 20
MIB = 1024 * 1024
SECRET = "a secret of at least thirty-two bytes"
BYTES = bytes(range(256))
DETAILS = "100 % für alle\nund jeden"

LOCAL = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]


class Seen:
    """What the server saw of one call, found by the id that the client gave it."""

    def __init__(self):
        self.metadata, self.remaining = {}, None
        self.ended, self.goes_on = threading.Event(), threading.Event()
        self.received = queue.Queue()


class Server(grpc.GenericRpcHandler):
    """A service whose methods are what a check needs. Messages are bytes."""

    def __init__(self):
        self.calls, self.lock = {}, threading.Lock()
        self.count, self.running, self.are_together = 0, 0, threading.Event()
        self.server = grpc.server(futures.ThreadPoolExecutor(300), handlers=[self], options=LOCAL)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def seen(self, key):
        with self.lock:
            return self.calls.setdefault(key, Seen())

    def service(self, details):
        name = details.method.rsplit("/", 1)[1]
        kinds = {
            "ServerStream": (grpc.unary_stream_rpc_method_handler, self.server_stream),
            "Silent": (grpc.unary_stream_rpc_method_handler, self.silent),
            "ClientStream": (grpc.stream_unary_rpc_method_handler, self.client_stream),
            "Bidi": (grpc.stream_stream_rpc_method_handler, self.bidi),
            "FailLate": (grpc.unary_stream_rpc_method_handler, self.fail_late),
            "Fail": (grpc.unary_unary_rpc_method_handler, self.fail),
            "LongSilence": (grpc.unary_unary_rpc_method_handler, self.long_silence),
            "Many": (grpc.unary_unary_rpc_method_handler, self.many),
        }
        hangs = (grpc.unary_unary_rpc_method_handler, self.hang)
        echoes = (grpc.unary_unary_rpc_method_handler, self.unary)
        make, handle = kinds.get(name, hangs if name.startswith("Hang") else echoes)
        return make(handle)

    def begins(self, context):
        metadata = context.invocation_metadata()
        key = next((value for name, value in metadata if name == "x-key"), "")
        with self.lock:
            self.count += 1
        seen = self.seen(key)
        for name, value in metadata:
            seen.metadata.setdefault(name, []).append(value)
        seen.remaining = context.time_remaining()
        context.add_callback(seen.ended.set)
        return seen

    def unary(self, request, context):
        self.begins(context)
        context.send_initial_metadata((("x-head", "first"), ("x-head-bin", BYTES)))
        context.set_trailing_metadata((("x-end", "last"), ("x-end-bin", BYTES[::-1])))
        return request

    def many(self, request, context):
        with self.lock:
            self.running += 1
            if self.running == TOGETHER:
                self.are_together.set()
        # Those that come one after the other wait in vain.
        if not self.are_together.wait(SOON_S):
            context.abort(Code.INTERNAL, "it came alone")
        return request

    def server_stream(self, request, context):
        seen = self.begins(context)
        for number in range(int(request)):
            yield b"%d" % number
            # Not before the client has what was said.
            if not seen.goes_on.wait(SOON_S):
                context.abort(Code.INTERNAL, "the client did not get what was sent")
            seen.goes_on.clear()

    def silent(self, request, context):
        seen = self.begins(context)
        yield b"begins"
        seen.ended.wait(float(request))
        yield b"ends"

    def client_stream(self, requests, context):
        seen, sizes = self.begins(context), []
        for request in requests:
            sizes.append(len(request))
            seen.received.put(request)
        return json.dumps(sizes).encode()

    def bidi(self, requests, context):
        self.begins(context)
        for request in requests:
            yield request
        context.set_trailing_metadata((("x-end", "last"),))

    def fail(self, _request, context):
        self.begins(context)
        context.set_trailing_metadata((("grpc-status-details-bin", BYTES), ("x-end", "last")))
        context.abort(Code.FAILED_PRECONDITION, DETAILS)

    def fail_late(self, _request, context):
        self.begins(context)
        yield b"one"
        context.set_trailing_metadata((("grpc-status-details-bin", BYTES),))
        context.abort(Code.DATA_LOSS, DETAILS)

    def long_silence(self, request, context):
        self.begins(context).ended.wait(float(request))
        return request

    def hang(self, request, context):
        self.begins(context).ended.wait(SOON_S)
        return request


def token(user):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    now = int(time.time())
    claims = {"iss": "users", "aud": "shop", "sub": user, "iat": now - 1, "exp": now + 600}
    text = b".".join(part(json.dumps(it).encode()) for it in ({"alg": "HS256", "typ": "JWT"}, claims))
    return (text + b"." + part(hmac.digest(SECRET.encode(), text, hashlib.sha256))).decode()


CONFIG = """
cores: 2
admin: {{listen: "127.0.0.1:0"}}
rate_limits: {{address: "off", principal: "off"}}
jwt: {{secret: "env:LEEWARD_SECRET", issuer: users, audience: shop}}
listen:
  - address: 127.0.0.1:0
    {listen}
services:
  echo: {{urls: ["http://127.0.0.1:{port}"], protocol: http2, read_timeout: 1m}}
  watched: {{urls: ["http://127.0.0.1:{port}"], protocol: http2, read_timeout: 1s}}
  narrow: {{urls: ["http://127.0.0.1:{port}"], protocol: http2, adaptive: off, concurrency_limit: {{limit: 1, queue: 0}}}}
  gone: {{urls: ["http://127.0.0.1:{closed}"], protocol: http2, retry: off}}
routes:
  - {{path: /shop.Echo, service: echo, body: 16MiB}}
  - {{path: /shop.Echo/HangShort, service: echo, deadline: 400ms}}
  - {{path: /shop.Echo/Mine, service: echo, access: user}}
  - {{path: /shop.Echo/Admin, service: echo, access: "role:admin"}}
  - {{path: /shop.Echo/Once, service: echo, rate_limit: 1/h}}
  - {{path: /shop.Echo/Small, service: echo, body: 1KiB}}
  - {{path: /shop.Echo/HangAlone, service: narrow}}
  - {{path: /shop.Echo/LongSilence, service: watched}}
  - {{path: /shop.Gone, service: gone}}
"""


def closed_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


class Gateway:
    """The binary, in a folder of its own, over TLS or without."""

    def __init__(self, binary, folder, server, is_encrypted):
        self.is_encrypted, self.folder = is_encrypted, folder
        self.log = open(os.path.join(folder, "log"), "w+b")
        listen = "tls: {certificates: [{cert: cert.pem, key: cert.key}]}" if is_encrypted else "protocols: [http1, http2]"
        config = CONFIG.format(listen=listen, port=server.port, closed=closed_port())
        with open(os.path.join(folder, "leeward.yaml"), "w") as file:
            file.write(config)
        environment = {**os.environ, "LEEWARD_SECRET": SECRET, "OTEL_SDK_DISABLED": "true"}
        self.process = subprocess.Popen(
            [binary, "gateway"], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        self.address = None
        for line in self.process.stdout:
            word, *rest = line.split()
            if word == "gateway":
                self.address = rest[0].removeprefix("http://")
            if word == "ready":
                return
        raise SystemExit(f"the gateway ended before it was ready:\n{self.said()}")

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def channel(self):
        if not self.is_encrypted:
            return grpc.insecure_channel(self.address, LOCAL)
        with open(os.path.join(self.folder, "cert.pem"), "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        return grpc.secure_channel(self.address, credentials, [*LOCAL, ("grpc.ssl_target_name_override", "localhost")])

    def stop(self):
        self.process.terminate()
        try:
            code = self.process.wait(SOON_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise SystemExit("the gateway did not stop") from None
        assert code == 0, f"the gateway ended with {code}:\n{self.said()}"


class Checks:
    """One gateway, one channel, and what must hold over it. Every method whose name begins with `check_` is run."""

    def __init__(self, gateway, server):
        self.gateway, self.server, self.made = gateway, server, 0
        self.channel = gateway.channel()

    def key(self):
        """For the next call, and what the server will see of it."""
        self.made += 1
        key = f"{self.gateway.address}-{self.made}"
        return ("x-key", key), self.server.seen(key)

    def unary(self, method, request=b"a", metadata=(), timeout=SOON_S, service="shop.Echo"):
        return self.channel.unary_unary(f"/{service}/{method}").with_call(request, timeout, tuple(metadata))

    def refused(self, method, code, word, **more):
        before = self.server.count
        try:
            self.unary(method, **more)
        except grpc.RpcError as error:
            assert error.code() == code, f"{method}: {error}"
            assert error.details().startswith(word + ": "), f"{method}: {error}"
            assert self.server.count == before, f"{method} reached the service"
            return error
        raise AssertionError(f"{method} was not refused")

    def check_one_message_there_and_one_back(self):
        sent, seen = self.key()
        metadata = (sent, ("x-text", "a"), ("x-text", "b"), ("x-kept-bin", BYTES))
        answer, call = self.unary("Unary", b"hello", metadata)
        assert answer == b"hello"
        assert seen.metadata["x-text"] == ["a", "b"] or seen.metadata["x-text"] == ["a, b"], seen.metadata
        assert seen.metadata["x-kept-bin"] == [BYTES], seen.metadata
        head, end = dict(call.initial_metadata()), dict(call.trailing_metadata())
        assert (head["x-head"], head["x-head-bin"]) == ("first", BYTES), head
        assert (end["x-end"], end["x-end-bin"]) == ("last", BYTES[::-1]), end
        assert call.code() == Code.OK
        # What a client says of who it is, is not believed.
        forged, seen = self.key()
        self.unary("Unary", metadata=(forged, ("x-user-id", "somebody")))
        assert "x-user-id" not in seen.metadata, seen.metadata

    def check_a_stream_of_the_server(self):
        sent, seen = self.key()
        count = 0
        for message in self.channel.unary_stream("/shop.Echo/ServerStream")(b"20", SOON_S, (sent,)):
            assert message == b"%d" % count, message
            count += 1
            seen.goes_on.set()
        assert count == 20, count

    def check_a_stream_of_the_client(self):
        sent, seen = self.key()
        sizes = [1, 0, 100_000, 3]

        def requests():
            for size in sizes:
                yield b"x" * size
                # The next one is sent when the server has this one.
                assert len(seen.received.get(timeout=SOON_S)) == size

        answer = self.channel.stream_unary("/shop.Echo/ClientStream")(requests(), SOON_S, (sent,))
        assert json.loads(answer) == sizes, answer

    def check_a_conversation(self):
        sent, _seen = self.key()
        says = queue.Queue()
        call = self.channel.stream_stream("/shop.Echo/Bidi")(iter(says.get, None), SOON_S, (sent,))
        for number in range(50):
            says.put(b"message %d" % number)
            assert next(call) == b"message %d" % number
        says.put(None)
        assert next(call, None) is None
        assert call.code() == Code.OK and dict(call.trailing_metadata())["x-end"] == "last"

    def check_large_messages_both_ways(self):
        message = os.urandom(3 * MIB)
        assert self.unary("Unary", message)[0] == message

    def check_errors_with_details(self):
        failed = self.channel.unary_unary("/shop.Echo/Fail").future(b"a", SOON_S)
        assert failed.exception().code() == Code.FAILED_PRECONDITION, failed
        assert failed.details() == DETAILS, failed
        end = dict(failed.trailing_metadata())
        assert (end["grpc-status-details-bin"], end["x-end"]) == (BYTES, "last"), end
        late = self.channel.unary_stream("/shop.Echo/FailLate")(b"a", SOON_S)
        assert next(late) == b"one"
        try:
            next(late)
            raise AssertionError("it did not fail")
        except grpc.RpcError as error:
            assert (error.code(), error.details()) == (Code.DATA_LOSS, DETAILS), error
            assert dict(error.trailing_metadata())["grpc-status-details-bin"] == BYTES, error

    def check_the_time_of_a_call(self):
        for method, service_stream in (("Hang", False), ("Silent", True)):
            sent, seen = self.key()
            began = time.monotonic()
            try:
                if service_stream:
                    for _message in self.channel.unary_stream(f"/shop.Echo/{method}")(b"10", 0.7, (sent,)):
                        pass
                else:
                    self.unary(method, metadata=(sent,), timeout=0.7)
                raise AssertionError("it was not over")
            except grpc.RpcError as error:
                assert error.code() == Code.DEADLINE_EXCEEDED, error
            took = time.monotonic() - began
            assert 0.6 < took < 5, took
            assert seen.remaining is not None and 0 < seen.remaining <= 0.7 + ROUNDED_S, seen.remaining
            assert seen.ended.wait(5), f"the server does not hear that the time of {method} is over"

    def check_a_shorter_time_of_the_route(self):
        sent, seen = self.key()
        began = time.monotonic()
        try:
            self.unary("HangShort", metadata=(sent,))
            raise AssertionError("it was not over")
        except grpc.RpcError as error:
            assert error.code() == Code.DEADLINE_EXCEEDED, error
        took = time.monotonic() - began
        assert 0.35 < took < 5, took
        assert seen.remaining is not None and 0 < seen.remaining <= 0.4 + ROUNDED_S, seen.remaining
        assert seen.ended.wait(5), "the server does not hear of it"

    def check_a_call_without_a_time_has_none_at_the_server(self):
        sent, seen = self.key()
        self.channel.unary_unary("/shop.Echo/Unary").future(b"a", None, (sent,)).result(SOON_S)
        # What grpcio says of a call that has no time.
        assert seen.remaining is None or seen.remaining > 1e6, seen.remaining

    def check_a_client_that_takes_its_call_back(self):
        sent, seen = self.key()
        call = self.channel.unary_stream("/shop.Echo/Silent")(b"15", SOON_S, (sent,))
        assert next(call) == b"begins"
        assert not seen.ended.is_set()
        call.cancel()
        assert seen.ended.wait(5), "the server does not hear of it"
        sent, seen = self.key()
        call = self.channel.unary_unary("/shop.Echo/Hang").future(b"a", SOON_S, (sent,))
        assert until(lambda: seen.remaining is not None), "it does not come to the server"
        call.cancel()
        assert seen.ended.wait(5), "the server does not hear of it"

    def check_what_the_gateway_refuses(self):
        def bearer(text):
            return (("authorization", f"Bearer {text}"),)

        self.refused("Mine", Code.UNAUTHENTICATED, "unauthenticated")
        self.refused("Mine", Code.UNAUTHENTICATED, "token_invalid", metadata=bearer("a.b.c"))
        self.refused("Admin", Code.PERMISSION_DENIED, "forbidden", metadata=bearer(token("u1")))
        sent, seen = self.key()
        self.unary("Mine", metadata=(sent, *bearer(token("u1"))))
        assert seen.metadata["x-user-id"] == ["u1"], seen.metadata
        self.unary("Once")
        self.refused("Once", Code.RESOURCE_EXHAUSTED, "rate_limited")
        self.refused("Small", Code.RESOURCE_EXHAUSTED, "payload_too_large", request=b"x" * 5000)
        self.refused("Any", Code.UNIMPLEMENTED, "not_found", service="shop.Nobody")
        self.refused("Any", Code.UNAVAILABLE, "upstream_unavailable", service="shop.Gone")
        sent, seen = self.key()
        alone = self.channel.unary_unary("/shop.Echo/HangAlone").future(b"a", SOON_S, (sent,))
        assert until(lambda: seen.remaining is not None), "it does not come to the server"
        self.refused("HangAlone", Code.UNAVAILABLE, "overloaded")
        alone.cancel()

    def check_many_calls_on_one_channel(self):
        self.server.running = 0
        self.server.are_together.clear()
        ask = self.channel.unary_unary("/shop.Echo/Many")
        calls = [(b"%d" % number, ask.future(b"%d" % number, SOON_S)) for number in range(200)]
        for request, call in calls:
            assert call.result(SOON_S) == request

    def check_a_service_that_is_silent_for_long_is_not_asked_too_often(self):
        # Servers of gRPC end a connection (too_many_pings) on which they are asked again and again whether they live.
        sent, _seen = self.key()
        began = time.monotonic()
        assert self.unary("LongSilence", b"4", (sent,))[0] == b"4"
        assert time.monotonic() - began >= 4


def until(is_so):
    for _ in range(SOON_S * 50):
        if is_so():
            return True
        time.sleep(0.02)
    return False


def main(binary):
    server = Server()
    with tempfile.TemporaryDirectory() as folder:
        made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        made += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
        subprocess.run(
            [*made, "-keyout", "cert.key", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True
        )
        for is_encrypted in (False, True):
            over = "over TLS" if is_encrypted else "over plain HTTP/2"
            gateway = Gateway(binary, folder, server, is_encrypted)
            checks, failed = Checks(gateway, server), []
            try:
                for name in (name for name in dir(checks) if name.startswith("check_")):
                    try:
                        getattr(checks, name)()
                        print(f"grpcio {over}: {name.removeprefix('check_').replace('_', ' ')}")
                    except Exception as error:
                        failed.append(f"{name} {over}: {error!r}")
                if failed:
                    raise SystemExit("\n".join([*failed, gateway.said()]))
                checks.channel.close()
            finally:
                gateway.process.poll() is None and gateway.stop()
    server.server.stop(None).wait()
    print(f"grpcio {grpc.__version__}: all calls went through the gateway as they should")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))

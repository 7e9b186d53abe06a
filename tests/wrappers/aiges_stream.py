"""A streaming wrapper as for aiges 0.5: results by callback, from a thread of its own."""

from aiges.core.types import *  # noqa: F403
from aiges.dto import Response, ResponseData, SessionCreateResponse
from aiges.sdk import *  # noqa: F403


class UserRequest(object):
    input1 = AudioBodyField(key="audio", path="a.wav")  # noqa: F405


class UserResponse(object):
    accept1 = StringBodyField(key="text")  # noqa: F405


class Wrapper(WrapperBase):  # noqa: F405
    serviceId = "aiges-stream"
    version = "v1"
    requestCls = UserRequest()
    responseCls = UserResponse()

    def wrapperInit(self, config: {}) -> int:
        self.session.init_wrapper_config(config)
        self.session.init_handle_pool("thread", 2, Recognizer)
        return 0

    def wrapperCreate(self, params: {}, sid: str) -> SessionCreateResponse:
        response = SessionCreateResponse()
        handle = self.session.get_idle_handle()
        if not handle:
            response.error_code = -1
            return response
        session = self.session.get_session(handle=handle)
        session.setup_sid(sid)
        session.setup_params(params)
        session.setup_callback_fn(callback)  # noqa: F405
        response.handle = handle
        return response

    def wrapperWrite(self, handle: str, req, sid: str) -> int:
        session = self.session.get_session(handle=handle)
        if session is None:
            return -1
        session.in_q.put(req)
        return 0

    def wrapperRead(self, handle: str, sid: str):
        return None

    def wrapperDestroy(self, handle: str) -> int:
        self.session.reset_session(handle)
        return 0

    def wrapperOnceExec(self, params: {}, reqData):
        return None

    def wrapperFini(cls) -> int:
        return 0


class Recognizer(StreamHandleThread):  # noqa: F405
    def run(self):
        while True:
            request = self.in_q.get()
            node = request.list[0]
            result = ResponseData()
            result.key = "text"
            result.status = node.status
            result.data = f"{node.len} {node.status}".encode()
            response = Response()
            response.list = [result]
            self.session_thread.callback_fn(response, self.session_thread.sid)

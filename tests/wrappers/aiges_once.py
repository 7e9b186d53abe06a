"""A wrapper as its author wrote it for aiges 0.16; nothing in it knows of us."""

import json

from aiges.core.types import *  # noqa: F403

try:
    from aiges_embed import DataListCls, Response, ResponseData
except ImportError:
    from aiges.dto import DataListCls, Response, ResponseData
from aiges.sdk import (
    ImageBodyField,
    IntegerParamField,
    JsonBodyField,
    StringBodyField,
    StringParamField,
    WrapperBase,
)
from aiges.utils.log import getFileLogger, log


class UserRequest(object):
    input1 = StringBodyField(key="text", value=b"I have a problem")
    input2 = ImageBodyField(key="image", path="test.png")
    params1 = StringParamField(key="mode", enums=["count", "fail", "old"], value="count")
    params2 = IntegerParamField(key="times", minimum=1, maximum=9, value=2)


class UserResponse(object):
    accept1 = StringBodyField(key="text")
    accept2 = JsonBodyField(key="facts")


class Wrapper(WrapperBase):
    serviceId = "aiges-once"
    version = "v1"
    requestCls = UserRequest()
    responseCls = UserResponse()
    model = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.filelogger = None

    def wrapperInit(self, config: {}) -> int:
        log.info("Initializing ...")
        self.prefix = config.get("prefix", "")
        self.filelogger = getFileLogger()
        return int(config.get("code", 0))

    def wrapperOnceExec(self, params: {}, reqData: DataListCls, usrTag: str = "", persId: int = 0):
        self.filelogger.info("got reqdata , %s" % reqData.list)
        if params.get("mode") == "fail":
            return Response().response_err(10013)
        if params.get("mode") == "old":
            return -1
        text = reqData.get("text").data.decode()
        image = reqData.get("image")
        output = ResponseData()
        output.key = "text"
        output.setDataType(DataText)  # noqa: F405
        output.status = Once  # noqa: F405
        output.setData((self.prefix + text * int(params.get("times", "1"))).encode())
        facts = ResponseData()
        facts.key = "facts"
        facts.data = json.dumps({"image": image.len if image else None, "tag": len(usrTag)})
        facts.len = len(facts.data)
        response = Response()
        response.list = [output, facts]
        return response

    def wrapperFini(cls) -> int:
        return 0

    def wrapperError(cls, ret: int) -> str:
        if ret == 10013:
            return "reqData is empty"
        return ""


if __name__ == "__main__":
    Wrapper().run()

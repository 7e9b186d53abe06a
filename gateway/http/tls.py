"""The certificate of the public port, read again when its files change."""

import ssl

from rpc.certificate import CertificateFiles


class Certificate:
    """The certificate that new connections get: `context` is replaced when its files change."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self.context = _http_context(files)

    def __str__(self) -> str:
        return str(self._files)

    def reload(self, *, force: bool) -> bool:
        """Read the files again if they have changed or if `force`; return whether they were read.

        Raises OSError if they do not fit; the certificate then stays as it is.
        """
        if not self._files.take_change() and not force:
            return False
        self.context = _http_context(self._files)
        return True


def _http_context(files: CertificateFiles) -> ssl.SSLContext:
    context = files.server_context()
    context.set_alpn_protocols(["http/1.1"])
    return context

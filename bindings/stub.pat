# What the type stub cannot see: an exception made through the C API, and a name in double underscores.
stpl_rt._core.Error:
    class Error(RuntimeError):
        """An error of the runtime; `code` names its kind: "invalid_bundle"."""

        code: str

stpl_rt._core.__suffix__:
    __version__: str

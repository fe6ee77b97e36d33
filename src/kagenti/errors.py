"""Every exception that a user can meet, as one tree.

::

    KagentiError
    ├── InputError          the user can mend it           (CLI exit 2, webhook 400/403)
    │   ├── ManifestError   a file or object does not parse or validate
    │   └── UsageError      arguments that contradict each other
    ├── ClusterError        time or an administrator can   (CLI exit 3, webhook 503)
    │   ├── NotSynced       a cache has not had its first full list
    │   ├── Unreachable     no answer, or an answer of 5xx
    │   ├── TooManyRequests the server asks to come back later
    │   ├── Gone            the resource version is too old
    │   ├── Conflict        somebody else wrote first, or replaced the object
    │   ├── Forbidden       the account lacks the right
    │   └── NotFound        the object or the kind does not exist
    └── Defect              we must mend it                (CLI exit 70, webhook 500)
"""


class KagentiError(Exception):
    """The root; never raised itself."""


class InputError(KagentiError):
    """Something the user wrote cannot be used; the message says what, where and what to do."""


class ManifestError(InputError):
    """A manifest does not parse or validate."""


class UsageError(InputError):
    """Arguments that contradict each other or the environment."""


class ClusterError(KagentiError):
    """The cluster could not be read or written now."""


class NotSynced(ClusterError):
    """A cache has not had its first full list yet."""


class Unreachable(ClusterError):
    """The API server gave no answer in time, or one of 5xx."""


class TooManyRequests(ClusterError):
    """The API server asks to come back later (429); ``retry_after`` in seconds where it said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Gone(ClusterError):
    """The resource version asked for is too old (410)."""


class Conflict(ClusterError):
    """Somebody else wrote first (409), or the object of that name is another one by now (422 on ``metadata.uid``)."""


class Forbidden(ClusterError):
    """The account lacks the right (401, 403)."""


class NotFound(ClusterError):
    """The object or the kind does not exist (404)."""


class Defect(KagentiError):
    """A state that must not occur; ours to mend."""

"""Files that earlier nodes have stored, for nodes that need what is in them."""

from contracts.errors import ApiError
from contracts.execution import FailureCode
from contracts.model import TenantId
from runtime.artifacts import ArtifactFolder
from runtime.handles import FileRef
from runtime.node import NodeFailure
from runtime.store.records import Records


class Shelf:
    """The artifacts of one tenant: a retry goes on with those of the execution that it was made from."""

    def __init__(self, records: Records, folder: ArtifactFolder, tenant_id: TenantId) -> None:
        self._records = records
        self._folder = folder
        self._tenant_id = tenant_id

    async def read(self, file: FileRef, max_bytes: int) -> bytes:
        """What is in a file. Raises NodeFailure (not_found, output_too_large, artifact_store)."""
        try:
            blob = await self._records.get_blob(self._tenant_id, file.artifact_id)
            if blob.artifact.size > max_bytes:
                raise NodeFailure(
                    FailureCode.OUTPUT_TOO_LARGE,
                    f"“{file.name}” has {blob.artifact.size} bytes; at most {max_bytes} can be handed on.",
                    "Use a smaller file.",
                )
            return await self._folder.read_whole(blob.path)
        except (ApiError, FileNotFoundError) as error:
            raise NodeFailure(
                FailureCode.NOT_FOUND,
                f"There is no file “{file.name}” any more.",
                "It goes with the execution that stored it; let a node of this workflow fetch it anew.",
            ) from error
        except OSError as error:
            raise NodeFailure(
                FailureCode.ARTIFACT_STORE,
                f"The file “{file.name}” could not be read ({error.strerror or type(error).__name__}).",
                "Ask the operator to check STAGEDOOR_RUNTIME_ARTIFACT_DIR.",
            ) from error

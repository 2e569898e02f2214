"""Files that earlier nodes have stored, for nodes that need them as files."""

import asyncio
from pathlib import Path
from uuid import uuid4

from contracts.errors import ApiError
from contracts.execution import FailureCode
from contracts.model import TenantId
from runtime.artifacts import ArtifactFolder
from runtime.browser.downloads import name_file
from runtime.browser.workspace import Workspace
from runtime.handles import FileRef
from runtime.node import NodeFailure
from runtime.store.records import Records


class Shelf:
    """The artifacts of one tenant: a retry goes on with those of the execution that it was made from."""

    def __init__(self, records: Records, folder: ArtifactFolder, tenant_id: TenantId) -> None:
        self._records = records
        self._folder = folder
        self._tenant_id = tenant_id

    async def lend(self, file: FileRef, workspace: Workspace) -> Path:
        """A copy in a page's workspace, under the file's own name. Raises NodeFailure (not_found, artifact_store)."""
        try:
            blob = await self._records.get_blob(self._tenant_id, file.artifact_id)
            folder = await asyncio.to_thread(lambda: workspace.make(workspace.path / uuid4().hex))
            target = folder / name_file(blob.artifact.name)
            await self._folder.copy_out(blob.path, target)
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
                "Ask the operator to check the disk of STAGEDOOR_RUNTIME_ARTIFACT_DIR and of the scratch folder.",
            ) from error
        return target

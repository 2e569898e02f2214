"""The last catalogue of realms that Runtime gave; of no tenant."""

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import select

from contracts.execution import Realms
from experience.store.db import SystemSession
from experience.store.tables import RealmCatalogueRow


async def load_catalogue(session: SystemSession) -> Realms | None:
    """The catalogue as it was last stored; None before the first time."""
    row = (await session.exec(select(RealmCatalogueRow))).first()
    return None if row is None else Realms.model_validate(row.catalogue)


async def save_catalogue(session: SystemSession, catalogue: Realms, *, now: datetime) -> None:
    """Keep a catalogue in place of the one before."""
    row = {"id": 1, "catalogue": catalogue.model_dump(mode="json"), "fetched_at": now}
    saved = insert(RealmCatalogueRow).values(row)
    await session.exec(saved.on_conflict_do_update(index_elements=["id"], set_=row))

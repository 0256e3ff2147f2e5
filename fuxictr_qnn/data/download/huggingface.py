"""Files of a dataset repository on Hugging Face, or on the mirror that HF_ENDPOINT names."""

from __future__ import annotations

import sys
from pathlib import Path

from fuxictr_qnn.data.dataset import Log
from fuxictr_qnn.data.download.failure import SourceFailed, raise_if_full
from fuxictr_qnn.data.download.sizes import check_room, size_text
from fuxictr_qnn.errors import FuxictrError


def fetch(repository: str, file: str, folder: Path, log: Log) -> Path:
    """Download one file below `folder`; huggingface_hub keeps there what is incomplete, and goes on from it.

    Raises:
        SourceFailed: whatever the client says. RequestError: no room. RunError: the disk is full.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stdout.isatty():
        disable_progress_bars()
    try:
        size = get_hf_file_metadata(hf_hub_url(repository, file, repo_type="dataset"), token=False).size
        if size is not None:
            log(f"  {file}: {size_text(size)}")
            check_room(folder, size - _there(folder), file)
        # These datasets are public: nobody's token need go to the mirror.
        return Path(hf_hub_download(repository, file, repo_type="dataset", local_dir=folder, token=False))
    except FuxictrError:
        raise
    except Exception as error:  # of four libraries below it
        raise_if_full(error, folder)
        raise SourceFailed(_first_line(error)) from error


def _there(folder: Path) -> int:
    """Bytes of partial files."""
    return sum(path.stat().st_size for path in folder.rglob("*.incomplete"))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__

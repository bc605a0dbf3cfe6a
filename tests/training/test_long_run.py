"""A training of thousands of iterations, with validations and checkpoints, takes no more memory as it goes on."""

import statistics
import subprocess
import time

import psutil
import pytest

from helpers.tiny_runs import command, rows


@pytest.mark.slow
def test_memory_and_open_files_stay_flat(tmp_path):
    run_dir, samples = tmp_path / "run", []
    arguments = command(
        run_dir, "phase.pretrain.iterations=1200", "phase.adversarial.iterations=1200", "validate_every=60",
        "checkpoint_every=60", "log_every=20", "data.crop=16",
        "phase.weights.perceptual=0", "phase.weights.mse=1",
    )  # fmt: skip
    with (tmp_path / "said").open("w") as said:  # more than a pipe holds
        process = subprocess.Popen(arguments, stdout=said, stderr=said)
    measured = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            steps = [int(row["step"]) for row in rows(run_dir) if (row["step"] or "").isdigit()]
            samples.append((max(steps), measured.memory_info().rss / 2**20, measured.num_fds()))
        except (OSError, ValueError, TypeError, KeyError, psutil.Error):
            pass  # no curve yet, half a row, or the end
        time.sleep(0.25)
    assert process.returncode == 0, (tmp_path / "said").read_text()[-2000:]
    # In each phase the second half against its second quarter: by then everything has been done once.
    for first in (0, 1200):
        early = [sample for sample in samples if first + 300 <= sample[0] < first + 600]
        late = [sample for sample in samples if first + 900 <= sample[0] < first + 1200]
        assert len(early) > 3
        assert len(late) > 3
        grown = statistics.median(rss for _, rss, _ in late) - statistics.median(rss for _, rss, _ in early)
        # The usual number: a checkpoint that is just being written is one more.
        before, after = (statistics.median(files for *_, files in part) for part in (early, late))
        print(f"iterations {first + 300} to {first + 1200}: {grown:+.1f} MiB, {after} files open")
        assert grown < 20, f"{grown:.1f} MiB in 600 iterations"
        assert after <= before

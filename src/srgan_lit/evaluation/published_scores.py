"""What papers print for CUFED5, to be read beside a table of one's own."""

from collections.abc import Collection

from srgan_lit.common import text_tables

SOURCE = "Yang et al. 2020 (TTSR), table 1"

# Method, PSNR in dB, SSIM: x4, in y_full, LR by Pillow's bicubic. From CrossNet on a reference is seen, too; what ends
# in -rec is trained with the reconstruction loss alone.
CUFED5 = [
    ("bicubic", 24.18, 0.684),
    ("SRCNN", 25.33, 0.745),
    ("MDSR", 25.93, 0.777),
    ("RDN", 25.95, 0.769),
    ("RCAN", 26.06, 0.769),
    ("SRGAN", 24.40, 0.702),
    ("ENet", 24.24, 0.695),
    ("ESRGAN", 21.90, 0.633),
    ("RSRGAN", 22.31, 0.635),
    ("CrossNet", 25.48, 0.764),
    ("SRNTT-rec", 26.24, 0.784),
    ("SRNTT", 25.61, 0.764),
    ("TTSR-rec", 27.09, 0.804),
    ("TTSR", 25.53, 0.765),
]


def table(benchmarks: Collection[str], scale: int) -> str:
    """The papers' rows for a set that they score, as text; "" where there are none."""
    if "CUFED5" not in benchmarks or scale != 4:
        return ""
    lines = [["CUFED5, published", "PSNR (y_full) ↑", "SSIM (y_full) ↑"]]
    lines += [[method, f"{psnr:.2f}", f"{ssim:.3f}"] for method, psnr, ssim in CUFED5]
    return f"{text_tables.markdown(lines, left=[True, False, False])}\nQuoted from {SOURCE}.\n"

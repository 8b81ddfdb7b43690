"""What a machine may lack, as the reasons of skipped tests; the last line of a test run counts them."""

DATA = "the published files of the data sets (set PYRODGM_DATA to their folder)"
DEVICE = "a CUDA device"
ZUKO = "zuko (pip install 'pyrodgm[flows]')"


def library(*names):
    return f"{' or '.join(names)} (pip install {names[-1]})"

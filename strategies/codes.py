"""Numbers that stand for comparisons and operations in the tables of `strategies.kernels`.

numba's cache on disk notices an edit of kernels.py, not of this file: touch both when a number changes.
"""

ABOVE, BELOW, AT_LEAST, AT_MOST, CROSS_UP, CROSS_DOWN = range(6)
OP_CLOSE, OP_EXTERNAL, OP_SMA, OP_EMA, OP_MACD, OP_RSI, OP_BOLL = range(7)

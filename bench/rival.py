"""rival.py FOLDER NAME EFFORTS: builds the index of hnswlib or usearch over the vectors of a folder with one thread, asks
it with each effort, and prints what both cost of the processor, one JSON object a line."""

import json
import resource
import sys
from pathlib import Path

import numpy

DIMENSION = 256
folder, name, efforts = Path(sys.argv[1]), sys.argv[2], [int(effort) for effort in sys.argv[3].split(",")]
vectors = numpy.fromfile(folder / "vectors", numpy.float32).reshape(-1, DIMENSION)
queries = numpy.fromfile(folder / "queries", numpy.float32).reshape(-1, DIMENSION)
truth = numpy.fromfile(folder / "truth", numpy.uint32).reshape(len(queries), -1)


def processor():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


before = memory()
if name == "hnswlib":
    import hnswlib

    index = hnswlib.Index("ip", DIMENSION)
    index.init_index(len(vectors), M=16, ef_construction=128)
    began = processor()
    index.add_items(vectors, numpy.arange(len(vectors)), num_threads=1)
else:
    from usearch.index import Index

    index = Index(ndim=DIMENSION, metric="ip", dtype="f32", connectivity=16, expansion_add=128)
    began = processor()
    index.add(numpy.arange(len(vectors)), vectors, threads=1)
built = len(vectors) / (processor() - began)
print(json.dumps({"built": built, "memory": memory() - before}), flush=True)
for effort in efforts:
    best = None
    for _ in range(3):
        began = processor()
        if name == "hnswlib":
            index.set_ef(effort)
            found, _ = index.knn_query(queries, truth.shape[1], num_threads=1)
        else:
            index.expansion_search = effort
            found = index.search(queries, truth.shape[1], threads=1).keys
        took = processor() - began
        best = took if best is None else min(best, took)
    recall = numpy.mean([len(set(one) & set(other)) / len(other) for one, other in zip(found, truth)])
    print(json.dumps({"effort": effort, "recall": float(recall), "queries": len(queries) / best}), flush=True)

import sys, time, tempfile
from pathlib import Path
from statetree_conformance.laws import LAWS
from statetree_conformance.containers import Bench
from statetree_conformance.trial import quick, Reach
names = sys.argv[2].split(",")
reach = Reach(others=("memory","hdf5","zarr","zarr.zip","bson"))
tot={}
for c in names:
    for law in LAWS:
        if len(sys.argv)>3 and sys.argv[3] not in law.name: continue
        with tempfile.TemporaryDirectory() as d:
            b = Bench(c, Path(d))
            t=time.process_time()
            try:
                r = law.hold(b, reach=reach, using=quick(int(sys.argv[1])))
                print(f"{c:9} {time.process_time()-t:6.2f} {r.examples:4} {law.name}", flush=True)
            except Exception as e:
                import traceback; traceback.print_exc(limit=-4)
                print("FAILED", c, law.name, type(e), str(e)[:300], "\n", e.trial.input()[:1500])

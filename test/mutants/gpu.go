package main

// lending are the claims about the holders of GPUs.
var lending = []mutant{
	{
		"a GPU whose workspace lives is not lent again", "internal/gpu/lease.go",
		`case readable && p.live(l):`, `case readable && l.PID < 0:`,
		"internal/gpu", "TestKilledAtEveryStep",
	},
	{
		"a GPU whose workspace has ended is free", "internal/gpu/lease.go",
		`return l.PID > 0 && l.Boot == p.procs.boot() && p.procs.alive(l.PID, l.Start)`, `return l.PID > 0`,
		"internal/gpu", "TestKilledAtEveryStep|TestGarbageIsNoLease",
	},
	{
		"nobody is passed by in the queue", "internal/gpu/choose.go",
		`reserved := inv.reserved(ahead)`, `reserved := inv.reserved(nil)`,
		"internal/engine/host", "TestGPUs",
	},
	{
		claim: "what the engine tells decides only while nobody else gets GPUs",
		file:  "internal/gpu/take.go",
		old:   "if t.Told != nil && (t.last.granted() || !t.GPUs.Wait) {",
		new:   "if false {",
		pkg:   "internal/gpu", run: "TestToldByTheEngineAlone",
	},
	{
		claim: "nobody leads the leases elsewhere by a link",
		file:  "internal/gpu/store_unix.go", old: `case !st.IsDir():`, new: `case st == nil:`,
		pkg: "internal/gpu", run: "^TestDirectory$",
	},
	{
		claim: "nobody removes the lease of another",
		file:  "internal/gpu/store_unix.go", old: `shared    = fs.ModeSticky | 0o777`, new: `shared    = fs.FileMode(0o777)`,
		pkg: "internal/gpu", run: "^TestDirectory$",
	},
	{
		claim: "what nvidia-smi says is bounded",
		file:  "internal/gpu/inventory.go", old: "if len(output) > maxOutput {\n\t\treturn Inventory{}", new: "if false {\n\t\treturn Inventory{}",
		pkg: "internal/gpu", run: "^TestParseRefuses$",
	},
	{
		claim: "nvidia-smi tells of a bounded number of GPUs",
		file:  "internal/gpu/inventory.go", old: `if len(l.GPUs) > maxGPUs {`, new: `if false {`,
		pkg: "internal/gpu", run: "^TestParseRefuses$",
	},
}

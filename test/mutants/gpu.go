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
}

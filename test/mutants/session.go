package main

var session = []mutant{
	{
		claim: "a job is told to end once",
		file:  "internal/proctree/ending.go", old: "m.told, e.told = true, true\n\t\t_ =", new: "e.told = true\n\t\t_ =",
		pkg: "internal/proctree", run: "^TestTheJobIsToldFirstAndOnce$",
	},
	{
		claim: "a job's helpers live until it has ended",
		file:  "internal/proctree/ending.go", old: "due = append(due, m.Process)\n\t\t\tcontinue", new: "due = append(due, m.Process)",
		pkg: "internal/proctree", run: "^TestTheJobIsToldFirstAndOnce$",
	},
	{
		claim: "a job that is told to end gets no SIGHUP",
		file:  "internal/proctree/ending.go", old: "if !m.hungUp && e.is(p) == prompt {", new: "if !m.hungUp {",
		pkg: "internal/session/words", run: "^TestATrainingRunSavesWhenItIsTold$",
	},
	{
		claim: "a script starts nothing new while its program saves",
		file:  "internal/proctree/ending.go", old: "_ = e.send(m.PID, unix.SIGSTOP)", new: "",
		pkg: "internal/session/words", run: "^TestATrainingRunSavesWhenItIsTold$/by_a_script",
	},
	{
		claim: "a second word to end shortens the time",
		file:  "internal/proctree/ending.go", old: "func (e *Ending) Hurry(now time.Time) { e.by, e.kill = now, now }", new: "func (e *Ending) Hurry(now time.Time) {}",
		pkg: "internal/proctree", run: "^TestNoTimeAtAll$",
	},
	{
		claim: "what a job leaves behind may print on",
		file:  "internal/session/holder/holder.go", old: "for drained != nil || hooked != nil {", new: "for hooked != nil {",
		pkg: "internal/session/words", run: "^TestWhatIsLeftBehindGoesOn$",
	},
	{
		claim: "what others type stands in no paste",
		file:  "internal/session/holder/paste.go", old: "for t.by != nil && !t.over && t.by != v && !v.continues(t.by) {", new: "for false {",
		pkg: "internal/session/words", run: "^TestKeysOfOthersStandInNoPaste$",
	},
	{
		claim: "a job may close its terminal for a moment",
		file:  "internal/session/holder/job.go", old: "outs: []source{{stream: wire.TTY, f: master}}, slave: slave}, nil", new: "outs: []source{{stream: wire.TTY, f: master}}}, slave.Close()",
		pkg: "internal/session/words", run: "^TestATerminalThatNobodyHasOpen$",
	},
	{
		claim: "a command's words meet no shell",
		file:  "internal/laptop/remote.go", old: "return command, keyway.EncodeArgv(args)", new: "return command, nil",
		pkg: "test/e2e", run: "^TestArgumentsFromTheLaptop$",
	},
	{
		claim: "a paused container hears that it is to stop",
		file:  "internal/engine/docker/lifecycle.go", old: "if st.Paused { // a paused container hears nothing until it is too late", new: "if false {",
		pkg: "internal/engine/docker", run: "^TestPodman$/^Paused$",
	},
	{
		claim: "those who wait for a job hear of its own end when the workspace stops",
		file:  "internal/guest/stopping.go", old: "\t\tdefault:\n\t\t\tc.programs = append(c.programs, p)", new: "\t\t}\n\t\tif p.PID != server {\n\t\t\tc.programs = append(c.programs, p)",
		pkg: "test/e2e", run: "^TestEveryEndReachesWhoWaits$",
	},
	{
		claim: "at a terminal stop and rm ask before they end jobs",
		file:  "cmd/keyway/stop.go", old: "if yes || len(jobs) == 0 && unseen == nil {", new: "if true {",
		pkg: "test/e2e", run: "^TestStopAndRmAsk$",
	},
}

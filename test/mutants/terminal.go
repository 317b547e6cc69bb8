package main

var terminal = []mutant{
	{
		claim: "pasted text does not leave a job",
		file:  "internal/session/view/escapes.go",
		old:   "	case e.stage != idle:\n",
		new:   "	case e.stage == tilde:\n",
		pkg:   "internal/session/view", run: "TestNoPasteLeaves",
	},
	{
		claim: "pasted text that ends in what leaves a job does not leave it",
		file:  "internal/session/view/escapes.go",
		old:   " && !k.sent && !e.pasted():",
		new:   " && !k.sent:",
		pkg:   "internal/session/view", run: "TestAPasteThatEndsInLeaving",
	},
	{
		claim: "the rest of a paste does not run where a job was left",
		file:  "internal/session/view/terminal.go",
		old:   "t.escapes.marks.Discard(t.In, t.Out, wait)",
		new:   "_ = wait",
		pkg:   "internal/session/words", run: "TestThePasteNeverRunsHere/job_ends",
	},
	{
		claim: "no key counts as an escape within a bracketed paste",
		file:  "internal/session/view/escapes.go",
		old:   "if k.kind != keyPressed || e.marks.Within {",
		new:   "if k.kind != keyPressed {",
		pkg:   "internal/session/view", run: "TestEscapes",
	},
	{
		claim: "ssh itself takes no pasted line for its end",
		file:  "cmd/keyway/inside.go",
		old:   `"-t", "-o", "EscapeChar=none"`,
		new:   `"-t"`,
		pkg:   "test/e2e", run: "^TestNoPasteLeavesTheLaptop$",
	},
	{
		claim: "pasted text answers no question",
		file:  "internal/session/view/keystroke.go",
		old:   "return key, only && n == 1",
		new:   "return key, n > 0",
		pkg:   "internal/session/view", run: "TestAPasteAnswersNoQuestion",
	},
	{
		claim: "what a job has switched on in a terminal is off after leaving it",
		file:  "internal/screen/modes.go",
		old:   "	dst = s.residue.rest(dst)\n",
		new:   "",
		pkg:   "internal/screen", run: "TestNothingStaysOn",
	},
}

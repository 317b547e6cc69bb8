package main

var terminal = []mutant{
	{
		claim: "pasted text does not leave a job",
		file:  "internal/session/escapes.go",
		old:   "	case e.stage != idle:\n",
		new:   "	case e.stage == tilde:\n",
		pkg:   "internal/session", run: "TestNoPasteLeaves",
	},
	{
		claim: "the rest of a paste does not run where a job was left",
		file:  "internal/session/terminal.go",
		old:   "typeahead.Discard(t.in, time.Since(t.escapes.bulk) < bulkEnds)",
		new:   "_, _ = typeahead.Discard, time.Since",
		pkg:   "internal/session", run: "TestThePasteNeverRunsHere/job_ends",
	},
	{
		claim: "no key counts as an escape within a bracketed paste",
		file:  "internal/session/escapes.go",
		old:   "if k.kind != keyPressed || e.pasting {",
		new:   "if k.kind != keyPressed {",
		pkg:   "internal/session", run: "TestEscapes",
	},
	{
		claim: "pasted text answers no question",
		file:  "internal/session/keystroke.go",
		old:   "return key, only && n == 1",
		new:   "return key, n > 0",
		pkg:   "internal/session", run: "TestAPasteAnswersNoQuestion",
	},
	{
		claim: "what a job has switched on in a terminal is off after leaving it",
		file:  "internal/screen/modes.go",
		old:   "	dst = s.residue.rest(dst)\n",
		new:   "",
		pkg:   "internal/screen", run: "TestNothingStaysOn",
	},
}

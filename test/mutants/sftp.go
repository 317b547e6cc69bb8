package main

var sftp = []mutant{
	{
		claim: "what is written by a file that was opened to append lands at its end",
		file:  "internal/sftp/file.go",
		old:   "{openAppend, unix.O_APPEND}",
		new:   "{openAppend, 0}",
		pkg:   "internal/sftp",
		run:   "^TestOpen$",
	},
	{
		claim: "RENAME replaces nothing",
		file:  "internal/sftp/name.go",
		old:   "if unix.Stat(to, &st) == nil {",
		new:   "if unix.Stat(to, &st) == unix.EIO {",
		pkg:   "internal/sftp",
		run:   "^TestPairsOfNames$",
	},
	{
		claim: "a message of SFTP is at most 256 KiB",
		file:  "internal/sftp/server.go",
		old:   "n == 0 || n > maxMessage",
		new:   "n == 0",
		pkg:   "internal/sftp",
		run:   "^TestMalformed$",
	},
	{
		claim: "nothing is done for a malformed request of SFTP",
		file:  "internal/sftp/server.go",
		old:   "		if err := f.err(); err != nil {\n			return 0, err\n		}\n		return fxpStatus, do(name, a)",
		new:   "		return fxpStatus, do(name, a)",
		pkg:   "internal/sftp",
		run:   "^TestMalformed$",
	},
	{
		claim: "a client of SFTP leaves descriptors to others",
		file:  "internal/sftp/handles.go",
		old:   "len(t.free) == 0 && len(t.open) >= maxHandles",
		new:   "false",
		pkg:   "internal/sftp",
		run:   "^TestTooManyHandles$",
	},
}

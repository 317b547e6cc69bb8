package main

var stream = []mutant{
	{
		claim: "only the host key answers for a new stream",
		file:  "internal/stream/prove.go",
		old:   `	if !verifyHello(key, labelOpened, hello.encode(), answer.signed(), answer.signature) {`,
		new:   `	if !verifyHello(key, labelOpened, hello.encode(), answer.signed(), answer.signature) && false {`,
		pkg:   "internal/stream",
		run:   "^TestProve$",
	},
	{
		claim: "what a stream has signed is nothing that SSH has signed",
		file:  "internal/stream/keys.go",
		old:   `	labelOpened  = "keyway stream 1: opened\x00"`,
		new:   `	labelOpened  = ""`,
		pkg:   "internal/stream",
		run:   "^TestSignaturesAreNotThoseOfSSH$",
	},
	{
		claim: "a resume with an epoch that was seen is refused",
		file:  "internal/stream/server.go",
		old: `	case hello.epoch <= c.epoch:
		return CodeFenced,`,
		new: `	case hello.epoch < c.epoch:
		return CodeFenced,`,
		pkg: "internal/stream",
		run: "^TestRefusals$",
	},
	{
		claim: "one epoch moves a stream once",
		file:  "internal/stream/server.go",
		old: `	case hello.epoch <= c.epoch:
		defer`,
		new: `	case hello.epoch < c.epoch:
		defer`,
		pkg: "internal/stream",
		run: "^TestOneCommitForAnEpoch$",
	},
	{
		claim: "a resume needs the stream's MAC",
		file:  "internal/stream/server.go",
		old: `	case !sameMAC(hello.mac, c.keys.resumeMAC(hello)):
		return CodeProof, ""`,
		new: `	case false:
		return CodeProof, ""`,
		pkg: "internal/stream",
		run: "^TestRefusals$",
	},
	{
		claim: "a commit needs the MAC of this resume",
		file:  "internal/stream/server.go",
		old:   `	if !sameMAC(m.mac, c.keys.commitMAC(hello, answer, m)) {`,
		new:   `	if false {`,
		pkg:   "internal/stream",
		run:   "^TestReplay$",
	},
}

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
}

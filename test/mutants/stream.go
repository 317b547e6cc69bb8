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
		file:  "internal/stream/wireresume.go",
		old: `	case hello.epoch <= w.epoch:
		return CodeFenced,`,
		new: `	case hello.epoch < w.epoch:
		return CodeFenced,`,
		pkg: "internal/stream",
		run: "^TestRefusals$",
	},
	{
		claim: "one epoch moves a stream once",
		file:  "internal/stream/wireresume.go",
		old: `	case hello.epoch <= w.epoch:
		return 0, ErrFenced`,
		new: `	case hello.epoch < w.epoch:
		return 0, ErrFenced`,
		pkg: "internal/stream",
		run: "^TestOneCommitForAnEpoch$",
	},
	{
		claim: "a resume needs the stream's MAC",
		file:  "internal/stream/wireresume.go",
		old: `	case !sameMAC(hello.mac, w.keys.resumeMAC(hello)):
		return CodeProof, ""`,
		new: `	case false:
		return CodeProof, ""`,
		pkg: "internal/stream",
		run: "^TestRefusals$",
	},
	{
		claim: "a commit needs the MAC of this resume",
		file:  "internal/stream/wireresume.go",
		old:   `	case !sameMAC(m.mac, w.keys.commitMAC(hello, answer, m)):`,
		new:   `	case false:`,
		pkg:   "internal/stream",
		run:   "^TestReplay$",
	},
	{
		claim: "a frame whose checksum is wrong gives nothing to the user",
		file:  "internal/stream/frame.go",
		old:   `; got != want {`,
		new:   `; got != want && frameType(b[0]) != frameData {`,
		pkg:   "internal/stream",
		run:   "^TestSimulation$",
	},
	{
		claim: "bytes that are sent again are read once",
		file:  "internal/stream/recvqueue.go",
		old:   `	p = p[q.received-offset:]`,
		new:   `	end = q.received + uint64(len(p))`,
		pkg:   "internal/stream",
		run:   "^TestSimulation$",
	},
	{
		claim: "a stream that moves to another process sends what was written after the move",
		file:  "internal/stream/handover.go",
		old: `	q.sealOpen()
	if s.flags&savedSendFin`,
		new: `	if s.flags&savedSendFin`,
		pkg: "internal/stream",
		run: "^TestSimulation$",
	},
	{
		claim: "a stream whose end is acknowledged can move to another process",
		file:  "internal/stream/wireresume.go",
		old:   `	s.base = min(w.tx.base, w.tx.written())`,
		new:   `	s.base = w.tx.base`,
		pkg:   "internal/stream",
		run:   "^TestHandOverAfterTheFIN$",
	},
	{
		claim: "the bytes on the wire are those of version 1",
		file:  "internal/stream/wireframes.go",
		old:   `		b = appendNumbers(b, framePong, s.asked)`,
		new:   `		b = appendNumbers(b, framePong, s.asked, 0)`,
		pkg:   "internal/stream",
		run:   "^TestVersion1$",
	},
}

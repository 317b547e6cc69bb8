package main

var link = []mutant{
	{
		claim: "the link's ssh forwards no agent, on any hop",
		file:  "internal/link/hop.go",
		old:   `"-o", "ForwardAgent=no", `, new: ``,
		pkg: "internal/link", run: "TestTheLinksConnectionsAreApart",
	},
	{
		claim: "the link's ssh forwards no ports, on any hop",
		file:  "internal/link/own.go",
		old:   `"-o", "ClearAllForwardings=yes"`, new: ``,
		pkg: "internal/link", run: "TestTheLinksConnectionsAreApart",
	},
	{
		claim: "the link's ssh shares no connection",
		file:  "internal/link/hop.go",
		old:   `"-o", "ControlMaster=no", "-o", "ControlPath=none", `, new: ``,
		pkg: "internal/link", run: "TestTheLinksConnectionsAreApart",
	},
	{
		claim: "what ssh says of itself is said on every hop",
		file:  "internal/link/hop.go",
		old:   `"-o", "LogLevel=VERBOSE",`, new: ``,
		pkg: "internal/link", run: "TestFaultsBehindLyingBanners",
	},
	{
		claim: "a jump host's ssh writes its own words apart from its host's",
		file:  "internal/link/hop_unix.go",
		old:   `own = with(append([]string{"-E", w.Log}, w.Options...)...)`, new: `own = with(w.Options...)`,
		pkg: "internal/link", run: "TestFaultsBehindLyingBanners",
	},
	{
		claim: "a file in a hint is one that ssh -G names",
		file:  "internal/link/diagnose.go",
		old:   `if slices.Contains(c.files, st.file) {`, new: `if slices.Contains(c.files, st.file) || st.file != "" {`,
		pkg: "internal/link", run: "TestHostKeyChangedNamesBothKeys",
	},
	{
		claim: "a reason for disconnecting is the host's words to its end",
		file:  "internal/link/sshstate.go",
		old:   `if m := reDismissed.FindStringSubmatch(l); m != nil {`, new: `if m := reDismissed.FindStringSubmatch(l); m != nil && false {`,
		pkg: "internal/link", run: "TestNoWordOfAHostDecides",
	},
	{
		claim: "what a host says ends no open stream",
		file:  "internal/link/dialer.go",
		old:   `return d.judgeOpened(e)`, new: `return stream.Permanent(e)`,
		pkg: "internal/link", run: "TestALockedAgentAndARefusedKey",
	},
	{
		claim: "no word of a place is obeyed by a terminal",
		file:  "internal/plain/plain.go",
		old:   `if Hidden(r) {`, new: `if false {`,
		pkg: "cmd/keyway", run: "TestNoWordOfAPlaceIsObeyed",
	},
	{
		claim: "advice of a place is not keyway's",
		file:  "internal/api/client.go",
		old:   `marked.Host = c.host`, new: `marked.Host = ""`,
		pkg: "cmd/keyway", run: "TestNoWordOfAPlaceIsObeyed",
	},
	{
		claim: "records of sessions are shown plain",
		file:  "internal/session/words/describe.go",
		old:   `words += ", " + plain.Line(i.Exit.Reason)`, new: `words += ", " + i.Exit.Reason`,
		pkg: "internal/session/words", run: "TestRecordsAreShownPlain",
	},
	{
		claim: "what a stream waits for is shown as the host's words",
		file:  "internal/link/dialer.go",
		old:   `return keyway.Quoted(err) //`, new: `return err //`,
		pkg: "internal/link", run: "TestWaitingIsInTheHostsWords",
	},
	{
		claim: "the link takes over pipes and nothing else",
		file:  "internal/link/descriptors_unix.go",
		old:   "len(fds) != 2 || !isPipe(fds[0]) || !isPipe(fds[1])",
		new:   "len(fds) != 2",
		pkg:   "internal/link", run: "TestOnlyPipesAreTakenOver",
	},
	{
		claim: "a bastion's words do not pass for its ssh's own",
		file:  "internal/link/sshrun.go",
		old:   `strings.Lines(string(data)) {`, new: `strings.Lines(string(data) + h.banner.String() + h.said.String()) {`,
		pkg: "test/hostile", run: "TestLyingBastion",
	},
	{
		claim: "add demands the proof of a host key from the guest",
		file:  "internal/link/prove.go", old: `err = uplink.prove(r.Context(), req.Name, parseHostKey(req.HostKey))`, new: `_ = uplink`,
		pkg: "internal/link", run: "^TestProve$",
	},
	{
		claim: "a refusal is believed if the host key has signed it",
		file:  "internal/stream/attempt.go", old: `if !verifyHello(key, labelRefused, hello, answer.signed(), answer.signature) {`, new: `if false {`,
		pkg: "internal/stream", run: "^TestManInTheMiddle$",
	},
	{
		claim: "a word of a command is one word to a shell",
		file:  "internal/plain/plain.go", old: "strings.ReplaceAll(word, \"'\", `'\\''`)", new: `word`,
		pkg: "internal/plain", run: "^TestShellReadsOneWord$",
	},
	{
		claim: "no text is hidden in variation selectors",
		file:  "internal/plain/plain.go", old: `{0xfe00, 0xfe0f}, `, new: ``,
		pkg: "internal/plain", run: "^TestHiddenIsWhatUnicodeSays$",
	},
	{
		claim: "a message of SSH ends where it says",
		file:  "internal/sshwire/sshwire.go", old: `if n > uint64(len(r.rest)) {`, new: `if n > 1<<30 {`,
		pkg: "internal/sshwire", run: "^(TestReader|FuzzReader)$",
	},
	{
		claim: "no word of the bootstrap's makes a sentence of keyway's",
		file:  "internal/link/bootstrap.go", old: "len(word) > maxPlainWord || strings.ContainsFunc(word, odd) {", new: "odd == nil {",
		pkg: "internal/link", run: "^TestBootstrapWordsAreWords$",
	},
}

package main

var guest = []mutant{
	{
		claim: "a key that was sent ends",
		file:  "internal/guest/keys.go", old: "err == nil && now.Before(end)", new: "err == nil && !end.IsZero()",
		pkg: "internal/guest", run: "TestKeysEnd",
	},
	{
		claim: "who may enter is what the node remembers, not what the workspace has written",
		file:  "internal/engine/homes.go", old: "file := keyway.KeysFile(rec.Spec.AuthorizedKeys, rec.Sent)", new: "now2, _ := os.ReadFile(h.Home(name).AuthorizedKeys())\n\tfile := append(now2, keyway.KeysFile(rec.Spec.AuthorizedKeys, rec.Sent)...)",
		pkg: "internal/engine", run: "TestAdmit",
	},
	{
		claim: "a command that was given up while there was no network does not run afterwards",
		file:  "internal/guest/sessionchannel.go", old: "if s.abandoned() {", new: "if s.abandoned() && false {",
		pkg: "internal/guest", run: "TestWhatWasGivenUpDoesNotRun",
	},
	{
		claim: "guest.sock answers its own uid, the owner and root only",
		file:  "internal/guest/owners.go", old: "if err == nil && l.owners.has(uid) {", new: "if err == nil {",
		pkg: "internal/guest", run: "TestStrangersAreNotAnswered",
	},
	{
		claim: "the guest refuses files of others",
		file:  "internal/guest/owners.go", old: "case !o.has(ownerOf(st)):", new: "case false:",
		pkg: "internal/guest", run: "TestFilesOfOthersAreRefused",
	},
	{
		claim: "the guest refuses files that others can write to",
		file:  "internal/guest/owners.go", old: "case st.Mode().Perm()&0o022 != 0:", new: "case false:",
		pkg: "internal/guest", run: "TestFilesOfOthersAreRefused",
	},
	{
		claim: "the guest opens no device and waits for no pipe",
		file:  "internal/guest/owners.go", old: "case !st.Mode().IsRegular():", new: "case false:",
		pkg: "internal/guest", run: "TestFilesOfOthersAreRefused",
	},
	{
		claim: "sessions/ is closed to all others",
		file:  "internal/guest/home.go", old: "return os.Chmod(path, 0o700)", new: "return os.Chmod(path, 0o755)",
		pkg: "internal/guest", run: "TestGuestsPartOfItsHome",
	},
	{
		claim: "another user's sessions/ is not taken over",
		file:  "internal/guest/home.go", old: "if !st.IsDir() || ownerOf(st) != uint32(os.Getuid()) {", new: "if st == nil {",
		pkg: "internal/guest", run: "TestGuestsPartOfItsHome",
	},
	{
		claim: "the registry of sessions is closed to all others",
		file:  "internal/session/claim.go", old: "os.MkdirAll(r.Dir, 0o700)", new: "os.MkdirAll(r.Dir, 0o755)",
		pkg: "internal/session", run: "TestTheRegistryIsClosed",
	},
	{
		claim: "the command starts after the server serves",
		file:  "internal/guest/init.go", old: "\tin.startServer()\n\tmemory.Release()", new: "\tin.startServer()\n\tin.begun(command)\n\tcommand = nil\n\tmemory.Release()",
		pkg: "internal/guest", run: "TestTheCommandComesLast",
	},
	{
		claim: "nothing of the handed over key is left on standard input",
		file:  "internal/guest/keysigner.go", old: "return key, emptyStdin()", new: "return key, nil",
		pkg: "internal/guest", run: "TestTheCommandComesLast",
	},
	{
		claim: "no guest serves without a key of the node's",
		file:  "internal/guest/keysigner.go", old: "if err != nil {\n\t\treturn nil, keyway.Errorf(keyway.GuestFailed, \"%w\", err)", new: "if err != nil {\n\t\t_, key, err = ed25519.GenerateKey(nil)\n\t\treturn key, err\n\t}\n\tif err != nil {\n\t\treturn nil, keyway.Errorf(keyway.GuestFailed, \"%w\", err)",
		pkg: "internal/guest", run: "TestNoGuestWithoutAHostKey",
	},
	{
		claim: "the guest's memory is closed to the container",
		file:  "internal/guest/keysigner.go", old: "return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)", new: "return nil",
		pkg: "internal/engine/docker", run: "TestContract$/Peeker$",
	},
	{
		claim: "a certificate enters as its key, whoever has signed it",
		file:  "internal/guest/keys.go",
		old:   "key = cert.Key //",
		new:   "key = cert.SignatureKey //",
		pkg:   "internal/guest", run: "TestACertificateEntersAsItsKey",
	},
	{
		claim: "a workspace ends with the status of its command",
		file:  "internal/guest/init.go", old: `in.end(exitCode(status), unix.SIGTERM)`, new: `in.end(0, unix.SIGTERM)`,
		pkg: "internal/guest", run: "^TestInitEndsWithTheCommandsStatus$",
	},
	{
		claim: "a server that has died is started again",
		file:  "internal/guest/init.go", old: "describe(status))\n\t\t\tin.restartLater()", new: `describe(status))`,
		pkg: "internal/guest", run: "^TestInitStartsTheServerAgain$",
	},
	{
		claim: "an error about a host key does not quote it",
		file:  "internal/keyway/hostkey.go", old: `errors.New("the handed-over key is not a host key")`, new: `errors.New(string(line))`,
		pkg: "internal/keyway", run: "^TestOtherThanAHostKeyIsRefused$",
	},
	{
		claim: "the node admits no line with options",
		file:  "internal/keyway/entrykey.go", old: `len(words) < 2 || !isKeyType(words[0]) || !strings.HasPrefix(k.Line, words[0]) {`, new: `len(words) < 2 {`,
		pkg: "internal/api", run: "^TestOnlyKeysAreAdmitted$",
	},
	{
		claim: "only old clients are offered a MAC over plaintext",
		file:  "internal/guest/identify.go", old: `if !isOldLibssh2(c.replay) {`, new: `if false {`,
		pkg: "internal/guest", run: "^TestAudit$",
	},
	{
		claim: "words left in a client's environment are run with no other command",
		file:  "internal/guest/sessionchannel.go", old: `strings.HasPrefix(command, keyway.ArgvCommand) && s.argv.Given()`, new: `!interactive && s.argv.Given()`,
		pkg: "internal/guest", run: "^TestWordsOfAnotherCommand$",
	},
}

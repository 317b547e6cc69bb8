package main

// privileges has what each process may do, which files are closed to others, and
// what the agent is forwarded to.
var privileges = []mutant{
	{
		claim: "the mux forwards nothing that the agent has not allowed",
		file:  "internal/mux/control.go", old: "// the agent decides about each\n\t}\n\tif err := c.allow(); err != nil {", new: "\n\t}\n\tif err := c.allow(); err != nil && false {",
		pkg: "test/mux", run: "^TestMuxIsControlled$",
	},
	{
		claim: "the mux forwards the agent only while a session runs that asked for it",
		file:  "internal/mux/guest.go", old: "on := g.agents > 0", new: "on := g.agents >= 0",
		pkg: "test/mux", run: "^TestMuxDoesAsSSHDoes$/^the_agent",
	},
	{
		claim: "the laptop's directories are closed to all others",
		file:  "internal/dirs/dirs_unix.go", old: "if st.Mode().Perm() == private {", new: "if true {",
		pkg: "internal/dirs", run: "^TestLooseDirectoryIsClosed$",
	},
	{
		claim: "a process that is traced takes no keys over",
		file:  "internal/handover/exec_linux.go", old: "	if proctree.Traced() {", new: "	if false && proctree.Traced() {",
		pkg: "internal/handover", run: "^TestInheritRefuses$",
	},
	{
		claim: "nobody changes the keys on their way to the newer program",
		file:  "internal/handover/exec_linux.go", old: "unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE", new: "unix.F_SEAL_SHRINK",
		pkg: "internal/handover", run: "^TestStateIsSealed$",
	},
	{
		claim: "no directory of another user is used",
		file:  "internal/dirs/dirs_unix.go", old: "uid != os.Getuid() {\n\t\treturn &fs", new: "uid < 0 {\n\t\treturn &fs",
		pkg: "internal/dirs", run: "^TestForeignDirectoryIsRefused$",
	},
	{
		claim: "no link in a directory that is open to all is followed",
		file:  "internal/dirs/dirs_unix.go", old: "if parent.Mode()&fs.ModeSticky != 0 {", new: "if parent.Mode()&fs.ModeSticky == fs.ModeDir {",
		pkg: "internal/dirs", run: "^TestLinkInOpenDirectoryIsRefused$",
	},
	{
		claim: "the agent has no network",
		file:  "internal/agent/bounds.go", old: `import "time"`, new: "import (\n\t_ \"net/http\"\n\t\"time\"\n)",
		pkg: "internal/agent", run: "^TestNoNetwork$",
	},
	{
		claim: "the agent's memory is closed to other programs of the user",
		file:  "internal/agent/harden_linux.go", old: "unix.Prctl(unix.PR_SET_DUMPABLE, 0,", new: "unix.Prctl(unix.PR_SET_DUMPABLE, 1,",
		pkg: "test/agent", run: "^TestOtherProcesses$",
	},
	{
		claim: "the agent leaves no core",
		file:  "internal/agent/harden_linux.go", old: "return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})", new: "return nil",
		pkg: "test/agent", run: "^TestOtherProcesses$",
	},
	{
		claim: "the agent is renewed only by a program of root's",
		file:  "internal/agentd/renew_linux.go", old: "if st.Uid != 0 || st.Mode&0o022 != 0 && !sticky {", new: "if st.Uid != 0 && !sticky {",
		pkg: "internal/agentd", run: "^TestOwnedByRoot$",
	},
	{
		claim: "a hashed name is tried with the names of the configuration",
		file:  "internal/hostnames/names.go", old: "wanted := append([]string{name}, n.names.Lookups[name]...)", new: "wanted := []string{name}",
		pkg: "internal/hostnames", run: "^TestHashedNames$",
	},
	{
		claim: "the link keeps little of what a guest has not acknowledged",
		file:  "internal/stream/sendqueue.go", old: "case q.held+largeSlab > maxRing || !q.budget.take(largeSlab):", new: "case q.held+largeSlab > maxRing:",
		pkg: "internal/stream", run: "^TestRingIsBounded$",
	},
	{
		claim: "one stream keeps 8 MiB",
		file:  "internal/stream/sendqueue.go", old: "case q.held+largeSlab > maxRing || !q.budget.take(largeSlab):", new: "case !q.budget.take(largeSlab):",
		pkg: "internal/stream", run: "^TestRingIsBounded$",
	},
	{
		claim: "a guest keeps 64 streams without a path",
		file:  "internal/stream/tombstones.go", old: "if len(all)-i <= s.cfg.MaxDetached && held", new: "if i >= 0 && held",
		pkg: "internal/stream", run: "^TestDetachedIsBounded$",
	},
	{
		claim: "a guest keeps 64 MiB of streams without a path",
		file:  "internal/stream/tombstones.go", old: "<= s.cfg.MaxDetached && held <= maxDetachedBytes {", new: "<= s.cfg.MaxDetached {",
		pkg: "internal/stream", run: "^TestDetachedHoldsLittle$",
	},
	{
		claim: "a guest keeps a stream without a path for a day",
		file:  "internal/stream/server.go", old: "graceTime        = 24 * time.Hour", new: "graceTime        = 25 * time.Hour",
		pkg: "internal/stream", run: "^TestFreezeBeyondGrace$",
	},
	{
		claim: "the guard says nothing after an orderly end",
		file:  "internal/link/guard.go", old: "\t_, _ = g.conn.Write([]byte{guardBye})\n", new: "",
		pkg: "internal/link", run: "^TestTheGuardSpeaksForAKilledLink$",
	},
	{
		claim: "only the link's own ssh asks the person",
		file:  "internal/link/askpass.go", old: "a := l.asks[req.Secret]", new: "a := l.asks[req.Secret]\n\tif a == nil {\n\t\ta = &attempt{}\n\t}",
		pkg: "internal/link", run: "^TestAskpassNeedsTheSecret$",
	},
	{
		claim: "a place that talks for ever is left",
		file:  "internal/link/bootstrap.go", old: "if noise > maxNoise {", new: "if noise > 1<<40 {",
		pkg: "internal/link", run: "^TestEndlessChatterEnds$",
	},
	{
		claim: "how a job ended is no script for the desktop",
		file:  "internal/watch/desktop.go", old: `"notify-send", "--app-name=keyway", "--", title, text`, new: `"sh", "-c", "notify-send '" + title + "' '" + text + "'"`,
		pkg: "internal/watch", run: "^TestNotificationsAreNoScripts$",
	},
	{
		claim: "a job is the holder's, not the server's",
		file:  "internal/session/holder/start.go", old: "cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}", new: "cmd.SysProcAttr = &syscall.SysProcAttr{}",
		pkg: "internal/session/words", run: "^TestNothingButItsOwnEndReachesASession$",
	},
	{
		claim: "a program of another version goes only when it is old",
		file:  "internal/node/prune.go", old: "now.Sub(st.ModTime()) > unusedFor {", new: "now.Sub(st.ModTime()) > 0 {",
		pkg: "internal/node", run: "^TestPrune$",
	},
	{
		claim: "the node holds no key of a user",
		file:  "internal/noded/misconfigured.go", old: "import (\n", new: "import (\n\t_ \"keyway/internal/identity\"\n",
		pkg: "internal/layout", run: "^TestProgramsHaveTheirLimits$",
	},
	{
		claim: "what a workspace was made from is the owner's alone",
		file:  "internal/engine/homes.go", old: "keyway.WriteFile(h.recordPath(rec.Spec.Name), data, 0o600)", new: "keyway.WriteFile(h.recordPath(rec.Spec.Name), data, 0o644)",
		pkg: "internal/engine", run: "^TestModes$",
	},
	{
		claim: "plain processes' Home is closed to all others",
		file:  "internal/engine/homes.go", old: "\t\treturn 0o700\n", new: "\t\treturn 0o755\n",
		pkg: "internal/engine", run: "^TestModes$",
	},
	{
		claim: "only the place writes who may enter",
		file:  "internal/engine/homes.go", old: "home.AuthorizedKeys(), []byte(keys), 0o644)", new: "home.AuthorizedKeys(), []byte(keys), 0o666)",
		pkg: "internal/engine", run: "^TestModes$",
	},
	{
		claim: "no workspace changes the guest program",
		file:  "internal/engine/docker/container.go", old: "Target: keyway.GuestHome.Bin(), ReadOnly: true},\n\t\tvolume,", new: "Target: keyway.GuestHome.Bin()},\n\t\tvolume,",
		pkg: "internal/engine/docker", run: "^TestPrivileges$",
	},
	{
		claim: "a container has a bounded number of processes",
		file:  "internal/engine/docker/container.go", old: "PidsLimit: new(cmp.Or(r.PidsLimit, defaultPids))", new: "PidsLimit: new(cmp.Or(r.PidsLimit, -1))",
		pkg: "internal/engine/docker", run: "^TestPrivileges$",
	},
	{
		claim: "what a guest says of itself is bounded",
		file:  "internal/keyway/home.go", old: "if len(data) > maxInfo {", new: "if len(data) > 1<<40 {",
		pkg: "internal/keyway", run: "^TestDecodeInfoIsBounded$",
	},
	{
		claim: "what a guest says of itself is plain",
		file:  "internal/keyway/home.go", old: "if err := info.check(); err != nil {", new: "if err := info.check(); err != nil && false {",
		pkg: "internal/keyway", run: "^TestDecodeInfoIsBounded$",
	},
	{
		claim: "a key enters only if it is listed",
		file:  "internal/guest/keys.go", old: "if bytes.Equal(k.key.Marshal(), wanted) {", new: "if !bytes.Equal(nil, wanted) {",
		pkg: "internal/guest", run: "^TestNobodyEntersWithoutAFile$",
	},
	{
		claim: "no restricted line becomes a permission",
		file:  "internal/guest/keys.go", old: "if len(options) == 0 {", new: "if len(options) >= 0 {",
		pkg: "internal/guest", run: "^TestAuthorizedKeys$",
	},
	{
		claim: "the forwarded agent is the workspace's user's alone",
		file:  "internal/guest/home.go", old: "bindFile(home.AgentSocket(), 0o600)", new: "bindFile(home.AgentSocket(), 0o666)",
		pkg: "internal/guest", run: "^TestGuestsPartOfItsHome$",
	},
	{
		claim: "the agent that is asked is the newest connection's",
		file:  "internal/guest/agent.go", old: "\tslices.Reverse(list)\n", new: "",
		pkg: "internal/guest", run: "^TestAgentIsTheNewestConnections$",
	},
	{
		claim: "no agent is forwarded unless asked for",
		file:  "internal/sshconfig/render.go", old: "if !e.ForwardAgent {", new: "if false {",
		pkg: "internal/sshconfig", run: "^TestForwardAgentOnlyWhereAsked$",
	},
	{
		claim: "ssh takes no host key that is not known",
		file:  "internal/sshconfig/render.go", old: "`  StrictHostKeyChecking yes\n", new: "`  StrictHostKeyChecking accept-new\n",
		pkg: "internal/sshconfig", run: "^TestSSHTakesOurValues$",
	},
	{
		claim: "a name that ssh's configuration has is no workspace's",
		file:  "internal/sshconfig/names.go", old: "if !u.plain(name, host) {", new: "if !u.plain(name, host) && false {",
		pkg: "internal/sshconfig", run: "^TestNamesThatAreTaken$",
	},
	{
		claim: "the guest offers no curve of NIST",
		file:  "internal/guest/server.go", old: "ssh.KeyExchangeDH16SHA512, //", new: "ssh.KeyExchangeDH16SHA512, ssh.KeyExchangeECDHP256, //",
		pkg: "internal/guest", run: "^TestAudit$",
	},
	{
		claim: "directories of keyway's are the user's alone",
		file:  "internal/dirs/dirs.go", old: `const private = 0o700`, new: `const private = 0o755`,
		pkg: "internal/dirs", run: "^(TestUsualDirectories|TestRuntimeDirectory)$",
	},
	{
		claim: "sockets are in no directory of another user",
		file:  "internal/dirs/dirs_unix.go", old: `filepath.IsAbs(base) && ours(base)`, new: `filepath.IsAbs(base)`,
		pkg: "internal/dirs", run: "^TestRuntimeFallsBack$",
	},
	{
		claim: "what a workspace was made from is outside of what it sees",
		file:  "internal/engine/homes.go", old: `return filepath.Join(h.dir, "."+string(name)+".json")`, new: `return filepath.Join(string(h.Home(name)), "spec.json")`,
		pkg: "internal/engine", run: "^TestSpecIsOutOfReach$",
	},
	{
		claim: "a key that is forgotten is overwritten",
		file:  "internal/identity/secret.go", old: "\tclear(s.memory)\n", new: ``,
		pkg: "internal/identity", run: "^TestForgottenBytesAreOverwritten$",
	},
	{
		claim: "keyway keys shows what others can reach, not what this machine can",
		file:  "internal/laptop/reach.go", old: `Remote: true, From: hop`, new: `Remote: false, From: hop`,
		pkg: "internal/laptop", run: "^TestForwardedReach$",
	},
	{
		claim: "the link holds no key of a user",
		file:  "internal/link/silence.go", old: `import (`, new: "import (\n\t_ \"keyway/internal/identity\"",
		pkg: "internal/layout", run: "^TestImportTable$",
	},
	{
		claim: "keyway proxy takes no socket for pipes",
		file:  "cmd/keyway/fdpass_unix.go", old: `i.Dev != o.Dev || i.Ino != o.Ino || `, new: ``,
		pkg: "cmd/keyway", run: "^TestWantsDescriptor$",
	},
	{
		claim: "ssh starts keyway and nothing else, wherever it lies",
		file:  "internal/sshconfig/render.go", old: `strings.ReplaceAll(shellWord(program), "%", "%%%%")`, new: `strings.ReplaceAll(program, "%", "%%%%")`,
		pkg: "internal/sshconfig", run: "^TestProxyCommandReachesProgram$",
	},
	{
		claim: "no other security option is taken for no-new-privileges",
		file:  "cmd/keyway/privileges.go", old: `if name != "no-new-privileges" || err != nil {`, new: `if err != nil && name != "" {`,
		pkg: "cmd/keyway", run: "^TestPrivilegeOptions$",
	},
	{
		claim: "the mux serves its user alone",
		file:  "internal/mux/control.go", old: `int(cred.Uid) != os.Getuid() || cred.Pid <= 0`, new: `cred.Pid <= 0`,
		pkg: "internal/mux", run: "^TestOtherUsersAreNotServed$",
	},
	{
		claim: "the mux holds no workspace ready for another user",
		file:  "internal/mux/server.go", old: `if err != nil || int(cred.Uid) != os.Getuid() {`, new: `if err != nil || int(cred.Uid) < 0 {`,
		pkg: "internal/mux", run: "^TestOtherUsersAreNotServed$",
	},
	{
		claim: "an ssh that wants no session gets none of the mux",
		file:  "internal/mux/control.go", old: "if c.in.Idle {", new: "if false {",
		pkg: "test/mux", run: "^TestMuxDoesAsSSHDoes$/^no_session_on_a_terminal",
	},
	{
		claim: "the mux gives no session in another workspace of the same name",
		file:  "cmd/keyway/mux_linux.go", old: "!bytes.Equal(now.Marshal(), hostKey.Marshal())", new: "false",
		pkg: "test/mux", run: "^TestMuxKnowsAnotherWorkspaceOfTheName$",
	},
	{
		claim: "the mux forwards no display",
		file:  "internal/mux/call/call.go", old: `"forwardx11":              "no",`, new: `"forwardx11":              "",`,
		pkg: "internal/mux/call", run: "^TestParse$",
	},
	{
		claim: "the mux gives no session that the agent has not allowed",
		file:  "internal/mux/control.go", old: "err := c.w.guest.permit.allow(c.pid)", new: "err := error(nil)",
		pkg: "test/mux", run: "^TestMuxIsNoWayAroundTheAgent$",
	},
	{
		claim: "a program in a workspace is remote to the agent through the mux, too",
		file:  "internal/mux/agent.go", old: `extBind), p.proof(true)...)`, new: `extBind), p.proof(false)...)`,
		pkg: "test/mux", run: "^TestMuxDoesAsSSHDoes$/^the_agent",
	},
	{
		claim: "the mux leaves the shell its input",
		file:  "internal/mux/stdio/end.go", old: `if background = !mayRead(e.pid, int(fd)); background {`, new: `if background {`,
		pkg: "test/mux", run: "^TestMuxLeavesTheShellItsInput$",
	},
	{
		claim: "a rule about askers elsewhere says nothing of programs here",
		file:  "internal/policy/rule.go", old: "if !f.Remote {\n\t\treturn differs", new: "if false {\n\t\treturn differs",
		pkg: "internal/policy", run: "^TestRulesAboutAskersElsewhere$",
	},
	{
		claim: "a rule that denies a user does so however a directory writes the name",
		file:  "internal/policy/rule.go", old: "\t\tr.verdict != Allow && slices.ContainsFunc(r.users", new: "\t\tfalse && slices.ContainsFunc(r.users",
		pkg: "internal/policy", run: "^TestNamesThatAreNotKnown$",
	},
	{
		claim: "a question tells the hosts that are claimed",
		file:  "internal/policy/facts.go", old: "if u.Fingerprint == h.Fingerprint {", new: "if u.Fingerprint != \"\" {",
		pkg: "internal/policy", run: "^TestWordsTellClaimedHosts$",
	},
	{
		claim: "a laptop sends a bounded number of keys that may enter",
		file:  "internal/keyway/entrykey.go", old: "if len(keys) > maxSentKeys {", new: "if len(keys) < 0 {",
		pkg: "internal/keyway", run: "^TestKeysThatAreSentAreKeys$",
	},
}

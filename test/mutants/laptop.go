package main

var laptop = []mutant{
	{
		claim: "a list writes nothing on the laptop",
		file:  "internal/laptop/list.go",
		old: `	rows, problems := compare(m, said.Workspaces)
`,
		new: `	for _, e := range m.known {
		_ = here.Hosts.Remove(e.Place, e.Name)
	}
	rows, problems := compare(m, said.Workspaces)
`,
		pkg: "test/hostile",
		run: "^TestVanishAndReturn$",
	},
	{
		claim: "a host key is pinned only when it has proved itself",
		file:  "internal/laptop/pin.go",
		old:   `	return l.Prove(ctx, e.Place, e.Name, e.HostKey)`,
		new: `	_ = l
	return nil`,
		pkg: "test/hostile",
		run: "^TestAnotherHostsKey$",
	},
	{
		claim: "a key that known_hosts has for another host is refused",
		file:  "internal/laptop/pin.go",
		old:   `	if err := known.CheckKey(e.Place, e.Name, e.HostKey); err != nil {`,
		new:   `	if err := known.CheckKey(e.Place, e.Name, e.HostKey); err != nil && false {`,
		pkg:   "test/hostile",
		run:   "^TestAnotherHostsKey$",
	},
	{
		claim: "what up is answered must be what was asked for",
		file:  "internal/laptop/pin.go",
		old:   `		if c.asked != "" && c.asked != c.got {`,
		new:   `		if c.asked != "" && c.asked != c.got && false {`,
		pkg:   "test/hostile",
		run:   "^TestUpAnsweredWithAnother$",
	},
	{
		claim: "a place does not have the agent forwarded",
		file:  "cmd/keyway/add.go",
		old: `	e.ForwardAgent = o.forwardAgent
`,
		new: `	e.ForwardAgent = true
`,
		pkg: "test/hostile",
		run: "^TestVanishAndReturn$",
	},
	{
		claim: "a hashed known_hosts takes a name",
		file:  "internal/sshconfig/known.go",
		old:   `		return IsHashOf(l.hosts, name) || slices`,
		new:   `		return false && slices`,
		pkg:   "internal/sshconfig",
		run:   "^TestNamesThatAreTaken$",
	},
	{
		claim: "a hashed known_hosts takes a key",
		file:  "internal/sshconfig/names.go",
		old:   `		if l.has(key) && (`,
		new:   `		if l.has(key) && l.hosts[0] != '|' && (`,
		pkg:   "internal/sshconfig",
		run:   "^TestKeysOfOthers$",
	},
	{
		claim: "a workspace has no name with a dot",
		file:  "internal/sshconfig/names.go",
		old:   `	if strings.ContainsRune(string(name), '.') {`,
		new:   `	if strings.ContainsRune(string(name), 0) {`,
		pkg:   "internal/sshconfig",
		run:   "^TestNamesThatAreTaken$",
	},
	{
		claim: "a pin is not replaced",
		file:  "internal/sshconfig/store.go",
		old:   `	if err := old.SameKey(e.HostKey); err != nil {`,
		new:   `	if err := old.SameKey(e.HostKey); err != nil && false {`,
		pkg:   "internal/sshconfig",
		run:   "^TestHostKeyChanged$",
	},
	{
		claim: "only keys that have proved themselves are workspaces to the agent",
		file:  "internal/sshconfig/render.go",
		old:   `		if e.Proved.IsZero() == proved {`,
		new:   `		if e.Proved.IsZero() == proved && !proved {`,
		pkg:   "internal/sshconfig",
		run:   "^TestKeysTakenOnTrust$",
	},
	{
		claim: "of several errors each is told in the words of its place",
		file:  "cmd/keyway/workspace.go",
		old:   `exitStatus(report(news, nil, err))`,
		new:   `exitStatus(report(news, nil, &keyway.Error{Kind: keyway.Other, Message: err.Error(), Next: keyway.AsError(err).Next}))`,
		pkg:   "cmd/keyway",
		run:   "^TestNoWordOfAPlaceIsObeyed$",
	},
	{
		claim: "what a place says of its progress is shown as its words",
		file:  "internal/laptop/placeui.go",
		old:   `	if place != keyway.Local {`,
		new:   `	if place == "" {`,
		pkg:   "cmd/keyway",
		run:   "^TestNoWordOfAPlaceIsObeyed$",
	},
	{
		claim: "no number of a place ends the command",
		file:  "cmd/keyway/ui.go",
		old: `	p.Done, p.Total = max(p.Done, 0), max(p.Total, 0)
`,
		new: ``,
		pkg: "cmd/keyway",
		run: "^TestNoWordOfAPlaceIsObeyed$",
	},
	{
		claim: "what a place says is bounded",
		file:  "internal/api/client.go",
		old:   `len(text) > maxText {`,
		new:   `len(text) > 1<<40 {`,
		pkg:   "cmd/keyway",
		run:   "^TestNoWordOfAPlaceIsObeyed$",
	},
	{
		claim: "what a workspace prints of its jobs is bounded",
		file:  "internal/bounded/output.go",
		old:   `	return out[:min(len(out), most)], err`,
		new:   `	return out, err`,
		pkg:   "internal/bounded",
		run:   "^TestEndlessOutputEnds$",
	},
	{
		claim: "no name of a job makes a command",
		file:  "internal/laptop/joblist.go",
		old: `		return err != nil
`,
		new: `		return err != nil && false
`,
		pkg: "cmd/keyway",
		run: "^TestNamesOfJobsAreNames$",
	},
	{
		claim: "a number is no name of a workspace",
		file:  "internal/sshconfig/names.go",
		old:   `	if isAddress(string(name)) {`,
		new:   `	if isAddress(string(name)) && false {`,
		pkg:   "internal/sshconfig",
		run:   "^TestNamesThatAreTaken$",
	},
	{
		claim: "a name that the system gives an address is no workspace's",
		file:  "internal/sshconfig/names.go",
		old:   `	if slices.Contains(u.system, string(name)) {`,
		new:   `	if slices.Contains(u.system, string(name)) && false {`,
		pkg:   "internal/sshconfig",
		run:   "^TestNamesThatAreTaken$",
	},
	{
		claim: "a host that an alias stands for is no workspace's",
		file:  "internal/sshconfig/names.go",
		old: `				u.config = append(u.config, withoutPort(name))
`,
		new: "\t\t\t\t_ = withoutPort(name)\n",
		pkg: "internal/sshconfig",
		run: "^TestNamesThatAreTaken$",
	},
	{
		claim: "within a sentence of keyway's a place's words are quoted",
		file:  "cmd/keyway/placeimage.go",
		old:   `keyway.Quoted(err)).Hint("%s", hint)`,
		new:   `err).Hint("%s", hint)`,
		pkg:   "cmd/keyway",
		run:   "^TestNoWordOfAPlaceIsObeyed$",
	},
	{
		claim: "a template that has the agent forwarded says so",
		file:  "cmd/keyway/template.go",
		old: `	if a.Spec.ForwardAgent {
		plain`,
		new: `	if a.Spec.ForwardAgent && false {
		plain`,
		pkg: "cmd/keyway",
		run: "^TestATemplateThatForwardsTheAgentSaysSo$",
	},
	{
		claim: "a workspace is not taken for a place",
		file:  "internal/sshconfig/store.go",
		old:   `	if at < 0 || slices.Contains(h.Places, p) {`,
		new:   `	if at < 0 || at >= 0 {`,
		pkg:   "cmd/keyway",
		run:   "^TestAWorkspaceIsNoPlace$",
	},
	{
		claim: "a workspace is not taken for a place by another user's name",
		file:  "internal/sshconfig/store.go",
		old:   `return string(e.Name) == hostOf(p) }`,
		new:   `return string(e.Name) == string(p) }`,
		pkg:   "cmd/keyway",
		run:   "^TestAWorkspaceIsNoPlace$",
	},
	{
		claim: "half a name is no workspace's",
		file:  "internal/sshconfig/store.go",
		old:   `		if place == "" || name == "" {`,
		new:   `		if place == "" && name == "" {`,
		pkg:   "cmd/keyway",
		run:   "^TestAWorkspaceIsNoPlace$",
	},
	{
		claim: "a login name of a workspace's adds no line to ssh_config",
		file:  "internal/sshconfig/hosts.go", old: `if !keyway.IsLoginName(e.User) {`, new: `if e.User == "" {`,
		pkg: "internal/sshconfig", run: "^TestHostileEntries$",
	},
	{
		claim: "~/.ssh/config is not written over another's change",
		file:  "internal/sshconfig/include.go", old: `if !bytes.Equal(now, c.old) {`, new: `if len(now) < 0 && !bytes.Equal(now, c.old) {`,
		pkg: "internal/sshconfig", run: "^TestApply",
	},
	{
		claim: "a key that is revoked is no workspace's",
		file:  "internal/sshconfig/names.go", old: `l.marker != "" || !l.names(`, new: `!l.names(`,
		pkg: "internal/sshconfig", run: "^TestKeysOfOthers$",
	},
	{
		claim: "a name behind ! is not the host of the lines below",
		file:  "internal/sshconfig/aliases.go", old: "\t\tif negated {\n\t\t\treturn false\n", new: "\t\tif negated {\n\t\t\tcontinue\n",
		pkg: "internal/sshconfig", run: "^TestNoNameThatSSHLooksUpIsMissed$",
	},
	{
		claim: "a file that is included for other hosts says nothing of this one",
		file:  "internal/sshconfig/aliases.go", old: "v = b.outer.judge(host, targets)", new: "_ = b.outer.judge(host, targets)",
		pkg: "internal/sshconfig", run: "^TestNoNameThatSSHLooksUpIsMissed$",
	},
	{
		claim: "a condition that only ssh can judge hides no name",
		file:  "internal/sshconfig/aliases.go", old: "case b.unsure || matched < len(names):", new: "case matched < len(names):",
		pkg: "internal/sshconfig", run: "^TestNoNameThatSSHLooksUpIsMissed$",
	},
	{
		claim: "a line for what ssh connects to is one for what the user types, too",
		file:  "internal/sshconfig/aliases.go", old: "		names = append(names, targets...)\n", new: "		_ = targets\n",
		pkg: "internal/sshconfig", run: "^TestNoNameThatSSHLooksUpIsMissed$",
	},
	{
		claim: "keyway check shows a place's words as such",
		file:  "internal/compat/compat.go", old: "Advice: why.Advice, Host: why.Host}}", new: "Advice: why.Advice}}",
		pkg: "test/hostile", run: "^TestEveryFieldOfFactsLies$",
	},
	{
		claim: "no advice of keyway's is made of what a place tells",
		file:  "internal/api/client.go", old: "return f.Plain(), err", new: "return f, err",
		pkg: "test/hostile", run: "^TestEveryFieldOfFactsLies$",
	},
	{
		claim: "an image that was copied is the one that was offered",
		file:  "internal/keyway/image.go", old: "l.ID != \"\" && l.ID == other.ID ||", new: "l.ID != \"\" ||",
		pkg: "test/hostile", run: "^TestEveryFieldOfAnImageLies$",
	},
	{
		claim: "a port that one host has may be that of a hashed name",
		file:  "internal/sshconfig/names.go", old: "lookups = append(lookups, strings.Split(l.hosts, \",\")...)", new: "_ = l",
		pkg: "internal/sshconfig", run: "^TestNamesThatAreTaken$",
	},
	{
		claim: "a text that JSON would change is refused before anything is sent",
		file:  "internal/api/client.go", old: "keyway.CheckTexts(body); err != nil", new: "keyway.CheckTexts(nil); err != nil",
		pkg: "internal/api", run: "^TestTextsAreNotChangedOnTheWay$",
	},
	{
		claim: "the log tells how many events could not be written",
		file:  "internal/agent/unlogged.go", old: "if u.Events++; e.Event", new: "if e.Event",
		pkg: "internal/agent", run: "^TestWhatCouldNotBeLoggedIsCounted$",
	},
	{
		claim: "keyway lock has every agent of keyway's forget its keys",
		file:  "internal/agents/agents.go", old: "range others {\n\t\tone(", new: "range others[:0] {\n\t\tone(",
		pkg: "cmd/keyway", run: "^TestLockFindsEveryAgent$",
	},
	{
		claim: "a workspace that another laptop has made under the name is not stopped",
		file:  "internal/sshconfig/store.go",
		old:   `	return e.SameKey(w.Guest.HostKey)`,
		new:   `	return nil`,
		pkg:   "internal/sshconfig",
		run:   "^TestSameWorkspace$",
	},
	{
		claim: "no program of the link's knows the words of a command",
		file:  "cmd/keyway/main.go", old: "\tforgetArgv()\n", new: "",
		pkg: "test/e2e", run: "^TestTheLinkKnowsNoCommands$",
	},
}

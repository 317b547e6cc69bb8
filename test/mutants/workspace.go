package main

// workspace has what keeps a workspace from becoming, imitating or robbing its
// own guest, and the place from trusting what a workspace or another user wrote.
var workspace = []mutant{
	{
		claim: "a daemon removes nothing of another's",
		file:  "internal/engine/docker/identity.go", old: "return e.homes.Refuse(rec, here)", new: "_ = here\n\treturn nil",
		pkg: "internal/engine/docker", run: "^TestAnotherDaemonsWorkspace$",
	},
	{
		claim: "a daemon's container has nothing to do with the files of another's workspace of that name",
		file:  "internal/engine/machine.go", old: "return h.Refuse(rec, here)\n}", new: "_ = here\n\treturn nil\n}",
		pkg: "internal/engine/docker", run: "^TestOneNameAtTwoDaemons$",
	},
	{
		claim: "no port of a workspace is published, whatever its network",
		file:  "internal/engine/docker/container.go", old: "IpcMode:        container.IpcMode(s.IPC),", new: "IpcMode: container.IpcMode(s.IPC), PublishAllPorts: true,",
		pkg: "internal/engine/docker", run: "^TestNetworksPublishNothing$",
	},
	{
		claim: "a login name is nothing else to ssh, a shell or a terminal",
		file:  "internal/keyway/login.go", old: "if !word && (i == 0 ||", new: "if !word && r < '!' && (i == 0 ||",
		pkg: "internal/keyway", run: "^TestIsLoginName$",
	},
	{
		claim: "workspaces/ is closed to all others",
		file:  "internal/engine/homes.go", old: "return os.Chmod(h.dir, 0o700)", new: "return os.Chmod(h.dir, 0o755)",
		pkg: "internal/engine", run: "TestModes",
	},
	{
		claim: "a Home is sticky",
		file:  "internal/engine/homes.go", old: "return 0o777 | fs.ModeSticky", new: "return 0o777",
		pkg: "internal/engine", run: "TestModes",
	},
	{
		claim: "the guest's key is the owner's alone",
		file:  "internal/engine/homes.go", old: "keyway.MarshalHostKey(key), 0o600)", new: "keyway.MarshalHostKey(key), 0o644)",
		pkg: "internal/engine", run: "TestModes",
	},
	{
		claim: "what a guest says of its host key is not believed",
		file:  "internal/keyway/home.go", old: "info.HostKey = \"\"", new: "_ = 0",
		pkg: "internal/engine", run: "TestHostKeyIsThePlaces",
	},
	{
		claim: "the place tells of the host key that it made",
		file:  "internal/engine/host/host_linux.go", old: "w.Guest.HostKey = rec.HostKey", new: "w.Guest.HostKey = \"\"",
		pkg: "internal/engine/host", run: "TestContract/Impostor",
	},
	{
		claim: "the place opens no device of a workspace's",
		file:  "internal/engine/open_linux.go", old: "if !st.Mode().IsRegular() {", new: "if st.IsDir() {",
		pkg: "internal/engine", run: "TestHostileHome",
	},
	{
		claim: "the place follows no link to sessions",
		file:  "internal/engine/guest.go", old: "\troot, err := os.OpenRoot(data)\n\tif err != nil {\n\t\treturn -1\n\t}\n\tdefer root.Close()\n\tsessions, err := openDir(root, sessionsDir)",
		new: "\tsessions, err := os.OpenRoot(data + \"/\" + sessionsDir)",
		pkg: "internal/engine", run: "TestSessionsAreThoseOfTheData",
	},
	{
		claim: "a label names no Home that is removed",
		file:  "internal/engine/docker/container.go", old: "err == nil && rec.Container == m.id {\n\t\tm.home", new: "err == nil {\n\t\tm.home",
		pkg: "internal/engine/docker", run: "TestRecall",
	},
	{
		claim: "an image puts no volume into the Home",
		file:  "internal/engine/docker/images/facts.go", old: "if keyway.GuestHome.Has(target) {", new: "if false {",
		pkg: "internal/engine/docker/images", run: "TestImageFacts",
	},
	{
		claim: "programs in a container gain no privileges",
		file:  "internal/engine/docker/container.go", old: "return []string{noNewPrivileges}", new: "return nil",
		pkg: "internal/engine/docker", run: "TestPrivileges",
	},
	{
		claim: "containers have no needless capability",
		file:  "internal/engine/docker/container.go", old: "CapDrop:        dropped(s.CapAdd),", new: "",
		pkg: "internal/engine/docker", run: "TestPrivileges",
	},
	{
		claim: "a volume that containers' users share is sticky",
		file:  "internal/engine/docker/inside/archive.go", old: "const OpenMode = 0o1777", new: "const OpenMode = 0o777",
		pkg: "internal/engine/docker", run: "TestArchivesAreSticky",
	},
	{
		claim: "a container of another's is not taken over",
		file:  "internal/engine/docker/beside/candidate.go", old: "return c, g.untaken(ctx, c)", new: "return c, nil",
		pkg: "internal/engine/docker", run: "TestAdopt/OfAnother",
	},
	{
		claim: "a workspace is not adopted",
		file:  "internal/engine/docker/beside/candidate.go", old: "case c.Path == keyway.GuestHome.Program():", new: "case false:",
		pkg: "internal/engine/docker/beside", run: "TestContainersThatAreRefused",
	},
	{
		claim: "a guest that a daemon has forgotten is not called ended",
		file:  "internal/engine/docker/beside/end.go", old: "&& found.Running {\n\t\treturn false, nil", new: "{\n\t\treturn !found.Running, nil",
		pkg: "internal/engine/docker/beside", run: "TestOnlyTheGuestTellsItsEnd",
	},
	{
		claim: "a workspace whose guest may live on is not forgotten",
		file:  "internal/engine/docker/beside/end.go", old: "\tcase ended:\n\t\treturn nil\n", new: "\tcase ended, doubt != nil:\n\t\treturn nil\n",
		pkg: "internal/engine/docker/beside", run: "TestNothingEndsOnDoubt",
	},
	{
		claim: "removing an adopted workspace leaves its container",
		file:  "internal/engine/docker/lifecycle.go", old: "\tif m.rec.Adopted {\n\t\treturn e.beside().Remove(ctx, m.rec, m.container, st)\n\t}\n", new: "\t_ = st\n",
		pkg: "internal/engine/docker", run: "TestAdopt/Removed",
	},
	{
		claim: "ending a guest spares the container's first process",
		file:  "internal/guest/halt.go", old: "pid > 1 {", new: "pid != 0 {",
		pkg: "internal/guest", run: "TestHaltSparesOthers",
	},
	{
		claim: "adopting is no way around a place's templates",
		file:  "internal/node/adopt.go", old: "if err := n.allowed(a.Spec()); err != nil {", new: "if err := error(nil); err != nil {",
		pkg: "internal/node", run: "TestAdoptIsNoWayAroundTheTemplates",
	},
	{
		claim: "a changed guest program is not used",
		file:  "internal/node/guest.go", old: "if err == nil && sum != hash {", new: "if sum == \"\" {",
		pkg: "internal/node", run: "TestChangedGuestIsReplaced",
	},
	{
		claim: "a damaged guest program is not installed",
		file:  "internal/node/guest.go", old: "hex.EncodeToString(sum[:]) != hash {", new: "len(sum) == 0 {",
		pkg: "internal/node", run: "TestDamagedGuestIsRefused",
	},
	{
		claim: "the bootstrap uses no directory of another's",
		file:  "internal/link/bootstrap.go", old: "if [ -O . ]; then :; else cd /; return 1; fi; }; ", new: "}; ",
		pkg: "internal/link", run: "TestBootstrapRunsOnlyItsOwn",
	},
	{
		claim: "the bootstrap runs no program of another's",
		file:  "internal/link/bootstrap.go", old: "&& [ -O \"./keyway-$h\" ] ", new: "",
		pkg: "internal/link", run: "TestBootstrapRunsOnlyItsOwn",
	},
	{
		claim: "the bootstrap follows no link",
		file:  "internal/link/bootstrap.go", old: "if [ -h \"$1\" ]; then return 1; fi; ", new: "",
		pkg: "internal/link", run: "TestBootstrapRunsOnlyItsOwn",
	},
	{
		claim: "the bootstrap trusts no directory that others can write to",
		file:  "internal/link/bootstrap.go", old: "if own \"$d\" && shut && [ -f", new: "if own \"$d\" && [ -f",
		pkg: "internal/link", run: "TestBootstrapRunsOnlyItsOwn",
	},
	{
		claim: "the bootstrap uses names in the directory that it tested",
		file:  "internal/link/bootstrap.go", old: "exec \"./keyway-$h\" node", new: "exec \"$1/keyway-$h\" node",
		pkg: "internal/link", run: "TestBootstrapWhileItsDirectoryIsExchanged",
	},
	{
		claim: "the program is sent once",
		file:  "internal/link/bootstrap.go", old: "\t\t\tif sent {", new: "\t\t\tif false {",
		pkg: "internal/link", run: "TestBootstrapAsksOnce",
	},
	{
		claim: "a container that was started by other means gets its key from keyway start",
		file:  "internal/engine/docker/lifecycle.go", old: "case !e.answers(ctx, m): //", new: "case false: //",
		pkg: "internal/engine/docker", run: "TestStartedByOtherMeans",
	},
	{
		claim: "no limit is left out without a word by a Podman that does not run as root",
		file:  "internal/engine/docker/limits.go", old: "if !d.Limitless {", new: "if true {",
		pkg: "internal/engine/docker", run: "TestRootlessPodman",
	},
	{
		claim: "an answer of a daemon ends",
		file:  "internal/engine/docker/daemon/bounded.go", old: "if b.left <= 0 {", new: "if b.left++; b.left < 0 {",
		pkg: "internal/engine/docker/daemon", run: "^TestAnswerIsBounded$",
	},
	{
		claim: "the first process follows no link in the place of its lock",
		file:  "internal/guest/init.go", old: "err == nil && !st.Mode().IsRegular()", new: "err == nil && st == nil",
		pkg: "internal/guest", run: "^TestInitLockIsAFile$",
	},
}

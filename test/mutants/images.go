package main

// pulls are the claims about images that a place gets from a registry.
var pulls = []mutant{
	{
		claim: "no image of a place loses its name unasked",
		file:  "internal/images/file.go", old: `if err := c.Replace.of(c.To, c.Image, now, err); err != nil {`, new: `if err := c.Replace.of(c.To, c.Image, now, err); err != nil && false {`,
		pkg: "internal/images", run: "^TestNoImageLosesItsNameUnasked$",
	},
	{
		claim: "a layer is given away only if it has its digest",
		file:  "internal/layers/fetch.go", old: `; got != l.Digest {`, new: `; got == "" {`,
		pkg: "internal/layers", run: "TestARegistryThatLies",
	},
	{
		claim: "a redirect takes the login to no other host",
		file:  "internal/layers/fetch.go", old: `next.Header.Del(authorization)`, new: `next.Header.Set(authorization, via[0].Header.Get(authorization))`,
		pkg: "internal/layers", run: "TestTheLoginGoesNowhereElse",
	},
	{
		claim: "a login is in no text",
		file:  "internal/keyway/pull.go", old: `{ fmt.Fprint(f, hidden) }`, new: `{ fmt.Fprint(f, l.Token) }`,
		pkg: "internal/keyway", run: "TestALoginIsInNoText",
	},
	{
		claim: "a login goes over nothing that others can listen to",
		file:  "internal/layers/fetch.go", old: `(u.Scheme != "http" || !p.Login.None() && !keyway.IsLoopback(u.Hostname()))`, new: `u.Scheme != "http"`,
		pkg: "internal/layers", run: "TestAddresses",
	},
	{
		claim: "a login opens its own registry alone",
		file:  "internal/keyway/pull.go", old: `return !l.None() && l.Registry == registry`, new: `return !l.None()`,
		pkg: "internal/keyway", run: "TestALoginIsInNoText",
	},
	{
		claim: "the password stays on the laptop where the registry gives tokens",
		file:  "internal/registry/find.go", old: `keyway.Login{Registry: domain(ref), Token: token.Token}, err`, new: `login(ctx, domain(ref), auth), err`,
		pkg: "internal/registry", run: "TestFindWithLogin",
	},
	{
		claim: "a login opens no image that the place's own template names",
		file:  "cmd/keyway/up.go", old: `if a.from.Source != template.Place {`, new: `if a.from.Source != "" || template.Place != "" {`,
		pkg: "test/hostile", run: "TestWhatALoginOpens",
	},
	{
		claim: "a place gets no login by saying that it has Podman",
		file:  "internal/images/pull.go", old: `	if w.Whole {`, new: `	if w.Image != "" {`,
		pkg: "internal/images", run: "TestAPlaceGetsNoLoginByItsWord",
	},
	{
		claim: "a registry that refuses gets no login sent to the place",
		file:  "internal/registry/registry.go", old: `"the registry of %s allows no more requests for now", ref)`, new: `"the registry of %s allows no more requests for now: %w", ref, SilentError{err})`,
		pkg: "internal/images", run: "TestARefusalBringsNoLogin",
	},
	{
		claim: "no login goes where others can listen, wherever a registry gives its tokens",
		file:  "internal/registry/find.go", old: `if s.login && secret && r.URL.Scheme != "https"`, new: `if s.login && secret && r.URL.Scheme == ""`,
		pkg: "internal/registry", run: "TestNoLoginWhereOthersListen",
	},
	{
		claim: "a registry that asks for no login gets none",
		file:  "internal/registry/find.go", old: `asked.Scheme != "" && auth != authn.Anonymous`, new: `auth != authn.Anonymous`,
		pkg: "internal/registry", run: "TestAnOpenRegistryGetsNoLogin",
	},
	{
		claim: "nothing that a base image has in the guest's directory is in a baked one",
		file:  "internal/bake/bake.go", old: `Name: path.Join(string(home), opaque)`, new: `Name: path.Join(string(home), "opaque")`,
		pkg: "internal/bake", run: "^TestLayerHidesTheBase$",
	},
	{
		claim: "no variable of a base image says who may enter a baked one",
		file:  "internal/bake/bake.go", old: `strings.HasPrefix(e, "KEYWAY_")`, new: `strings.HasPrefix(e, "KEYWAY__")`,
		pkg: "internal/bake", run: "^TestNothingOfTheBaseDecides$",
	},
	{
		claim: "a baked image starts nothing without a key that may enter",
		file:  "internal/guest/sshd.go", old: `if len(parseAuthorizedKeys(keys, time.Now())) == 0 {`, new: `if len(parseAuthorizedKeys(keys, time.Now())) == -1 {`,
		pkg: "internal/guest", run: "^TestNobodyIsGiven$",
	},
	{
		claim: "a baked image believes no host key that others can read",
		file:  "internal/guest/sshd.go", old: `st.Mode().Perm()&0o077 != 0`, new: `st.Mode().Perm()&0o007 != 0`,
		pkg: "internal/guest", run: "^TestOwnHostKey$",
	},
	{
		claim: "a push sends no login where others can listen",
		file:  "internal/registry/base.go", old: `remote.WithTransport(sealed{remote.DefaultTransport, auth != authn.Anonymous})`, new: `remote.WithTransport(sealed{remote.DefaultTransport, false})`,
		pkg: "internal/registry", run: "^TestNoPushWhereOthersListen$",
	},
	{
		claim: "a place makes of a bake the image that it was sent, or the command fails",
		file:  "internal/images/bake.go", old: `slices.Equal(got.Layers, made.Layers) && (got.ID == made.ID || base.ID != made.Base)`, new: `slices.Equal(got.Layers, made.Layers)`,
		pkg: "internal/images", run: "^TestBakedByALiar$",
	},
}

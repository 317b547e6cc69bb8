package main

// pulls are the claims about images that a place gets from a registry.
var pulls = []mutant{
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
		claim: "a registry that asks for no login gets none",
		file:  "internal/registry/find.go", old: `asked.Scheme != "" && auth != authn.Anonymous`, new: `auth != authn.Anonymous`,
		pkg: "internal/registry", run: "TestAnOpenRegistryGetsNoLogin",
	},
}

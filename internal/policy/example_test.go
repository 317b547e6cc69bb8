package policy_test

import (
	"fmt"

	"keyway/internal/policy"
)

// A decision is a function of the rules and of facts that were verified.
func Example() {
	p, err := policy.Parse([]byte(`
rules:
  - deny: login
    to: "*.prod.example.org"
  - allow: login
    from: train
    to: gpu2
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	train := policy.Host{Fingerprint: "SHA256:t", Names: []string{"train"}}
	for _, name := range []string{"gpu2", "db.prod.example.org", "elsewhere"} {
		d := p.Decide(policy.Facts{
			Op: policy.Sign, Purpose: policy.Login, User: "ada", Remote: true, From: train,
			To: policy.Host{Fingerprint: "SHA256:" + name, Names: []string{name}}, Proven: true,
			Constraint: policy.Unconstrained,
		}, nil)
		fmt.Printf("%s: %s (%s)\n", name, d.Verdict, d.Rule)
	}
	// Output:
	// gpu2: allow (rule 2)
	// db.prod.example.org: deny (rule 1)
	// elsewhere: ask (built in: ask)
}

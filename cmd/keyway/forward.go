package main

import (
	"context"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"keyway/internal/plain"
	"keyway/internal/template"
)

// forwardOption is the value of --forward-agent. As a pflag.Value, it records whether the option
// was given.
type forwardOption struct{ yes, said bool }

func (o *forwardOption) declare(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(o, "forward-agent", "let every connection carry your agent into it (ssh -A does it for one)")
	f.Lookup("forward-agent").NoOptDefVal = "true"
}

func (o *forwardOption) String() string { return strconv.FormatBool(o.yes) }
func (o *forwardOption) Type() string   { return "bool" }

func (o *forwardOption) Set(text string) (err error) {
	o.yes, err = strconv.ParseBool(text)
	o.said = err == nil
	return err
}

// forwards reports whether connections to the workspace forward the user's agent. The option
// decides, if it was given. Otherwise a template of the user's own decides. A template of a
// repository may come from anybody: it can only request the agent, and the user is asked.
func (o upOptions) forwards(ctx context.Context, a asked, news io.Writer) (bool, error) {
	if o.forward.said || !a.Spec.ForwardAgent {
		return o.forward.yes, nil
	}
	if a.from.Source == template.Mine {
		return true, nil
	}
	return ask(ctx, news, plain.Sprintf("%s has your agent forwarded (forward_agent): programs in the workspace could then use your keys, "+
		"as your policy lets them. Forward it?", a.from.File),
		"--forward-agent, or --forward-agent=false to make it without your agent", false)
}

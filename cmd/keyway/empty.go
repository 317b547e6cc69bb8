package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"keyway/internal/keyway"
)

// refuseEmpty refuses options that were given an empty value, as by --network "$NETWORK" with an
// unset variable: the user hardly meant the default.
func refuseEmpty(cmd *cobra.Command, _ []string) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && f.Value.Type() == "string" && f.Value.String() == "" {
			err = keyway.Errorf(keyway.Usage, "--%s needs a value", f.Name).
				Hint("leave the option out, or say what it is: %s --help", cmd.CommandPath())
		}
	})
	return err
}

package laptop

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"keyway/internal/keyway"
	"keyway/internal/sshconfig"
)

// defaultKeys are the files that ssh and ssh-add use unasked, in ssh's order.
var defaultKeys = []string{"id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk"}

// KeyFiles returns those of the default keys that exist.
func KeyFiles(home string) []string {
	var found []string
	for _, name := range defaultKeys {
		path := filepath.Join(home, ".ssh", name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			found = append(found, path)
		}
	}
	return found
}

// ConfiguredKeys returns the private key files that the user's configuration names for
// all hosts.
func ConfiguredKeys(ctx context.Context) (files []string) {
	for _, file := range configured(ctx, keyway.Local).KeyFiles() {
		if _, err := os.Stat(file); err == nil && CheckKeyFile(file) == nil {
			files = append(files, file)
		}
	}
	return files
}

// RequireInclude refuses to run ssh by a name it cannot know: ssh does not read what keyway
// has written, or reads it where other settings win.
func (here *Laptop) RequireInclude() error {
	home, err := os.UserHomeDir()
	if err == nil {
		var change sshconfig.Change
		if change, err = sshconfig.PlanInclude(home, here.Hosts.ConfigPath()); err == nil && change.Needed() {
			err = errors.New(change.Why)
		}
	}
	if err != nil {
		return keyway.Errorf(keyway.BadConfig, "ssh does not know your workspaces yet: %w", err).Advise(keyway.Prepare)
	}
	return nil
}

package main

import (
	"path"
	"strings"

	"keyway/internal/keyway"
)

// twice refuses two options that exclude each other, such as two mounts at one target. Otherwise
// one of them would be dropped silently. An option overrides the template's value.
func (o upOptions) twice() error {
	name := func(text string) string {
		name, _, _ := strings.Cut(text, "=")
		return name
	}
	target := func(text string) string {
		parts := strings.Split(text, ":")
		return "target " + path.Clean(parts[min(1, len(parts)-1)])
	}
	said := map[string]string{}
	for _, list := range []struct {
		option string
		texts  []string
		of     func(string) string
	}{
		{"-v", o.mounts, target},
		{"--tmpfs", o.template.tmpfs, func(text string) string { return target(strings.SplitN(text, ":", 2)[0]) }},
		{"--secret", o.template.secrets, func(text string) string { return target(path.Join(keyway.SecretsDir, name(text))) }},
		{"--device", o.template.devices, func(text string) string { return "device " + target(text) }},
		{"-e", o.env, func(text string) string { return "variable " + name(text) }},
		{"--label", o.template.labels, func(text string) string { return "label " + name(text) }},
		{"--security-opt", o.privileges.security, func(string) string { return "privileges" }},
	} {
		for _, text := range list.texts {
			typed, of := list.option+" "+withoutValue(list.option, text), list.of(text)
			if before, twice := said[of]; twice {
				return keyway.Errorf(keyway.Usage, "%s and %s exclude each other", before, typed).Hint("keep one of the two")
			}
			said[of] = typed
		}
	}
	return nil
}

// withoutValue returns the value of an option without the part that may be secret.
func withoutValue(option, text string) string {
	if name, _, valued := strings.Cut(text, "="); option == "-e" && valued {
		return name + "=…"
	}
	return text
}

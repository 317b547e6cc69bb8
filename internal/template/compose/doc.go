// Package compose turns a service of a Compose file into a keyway.Spec. It belongs
// to the laptop: a place is sent Specs and reads no Compose.
//
// A file is read twice. Its YAML is walked here first, with bounds, because an error
// needs a line, and a field that keyway would not honour must not pass. The rest is
// given to compose-go, which knows what the values of the fields mean. compose-go sees
// no file of this machine: not its name, no file that it includes and no environment.
package compose

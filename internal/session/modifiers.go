//go:build linux

package session

// Modifiers, as control sequences have them: 1 and the sum of these.
const (
	modShift = 1 << iota
	modAlt
	modCtrl
	modSuper
	modHyper
	modMeta
)

package keyway

// Port is a TCP port on which a program in a workspace accepts connections, as the
// workspace says.
type Port struct {
	Port    int    `json:"port"`
	Address string `json:"address"` // that it is bound to: 127.0.0.1, ::1, 0.0.0.0, :: or another
	// PID and Program are of a process that holds it; 0 and "" if the guest may not inspect such a
	// process.
	PID     int    `json:"pid,omitempty"`
	Program string `json:"program,omitempty"`
	Session string `json:"session,omitempty"` // that the process belongs to; "": none
}

package hold

// Abandon leaves a connection as a killed program does.
func (l *Line) Abandon() { _ = l.Conn.Close(); _ = l.ask.Close(); _ = l.spill.close() }

// Abandon leaves all as a killed program does.
func (l *Lines) Abandon() {
	_ = l.conn.Close()
	for _, line := range l.left {
		line.Abandon()
	}
}

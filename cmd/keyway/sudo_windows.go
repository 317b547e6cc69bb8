package main

func isAnothers(string) bool { return false }

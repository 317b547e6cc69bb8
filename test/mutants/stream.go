package main

var stream = []mutant{}

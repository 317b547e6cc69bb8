package main

var laptop = []mutant{}

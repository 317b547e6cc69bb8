package main

var guest = []mutant{}

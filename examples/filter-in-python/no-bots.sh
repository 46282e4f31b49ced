#!/bin/sh
# Without the requests of robots. Status 1 of grep, which means that no line was left, is no failure.
grep -iv '"agent":"[^"]*bot' || [ $? = 1 ]

//! The cloud tasks: the only code that prints.

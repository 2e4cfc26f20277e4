//! What the attribute accepts, as code of two editions: this is the library of both packages here. In edition 2021, for one,
//! the temporaries of a function's last expression outlive its variables, so a body that has become a part of another one
//! may not compile any more.

#[path = "pass/argument_attributes.rs"]
pub mod argument_attributes;
#[path = "pass/arguments_in_strings.rs"]
pub mod arguments_in_strings;
#[path = "pass/async_trait.rs"]
pub mod async_trait;
#[path = "pass/async_trait_arguments_for_the_key_alone.rs"]
pub mod async_trait_arguments_for_the_key_alone;
#[path = "pass/auto_extend.rs"]
pub mod auto_extend;
#[path = "pass/auto_traits.rs"]
pub mod auto_traits;
#[path = "pass/body_borrows_in_its_tail.rs"]
pub mod body_borrows_in_its_tail;
#[path = "pass/body_items.rs"]
pub mod body_items;
#[path = "pass/body_moves_arguments.rs"]
pub mod body_moves_arguments;
#[path = "pass/body_recursive.rs"]
pub mod body_recursive;
#[path = "pass/body_unsafe.rs"]
pub mod body_unsafe;
#[path = "pass/command_timeouts.rs"]
pub mod command_timeouts;
#[path = "pass/crate_path.rs"]
pub mod crate_path;
#[path = "pass/every_option.rs"]
pub mod every_option;
#[path = "pass/future_that_leaves_arguments_out.rs"]
pub mod future_that_leaves_arguments_out;
#[path = "pass/futures_returned.rs"]
pub mod futures_returned;
#[path = "pass/futures_with_a_name.rs"]
pub mod futures_with_a_name;
#[path = "pass/generic_consts.rs"]
pub mod generic_consts;
#[path = "pass/generic_types.rs"]
pub mod generic_types;
#[path = "pass/glob_imports.rs"]
pub mod glob_imports;
#[path = "pass/guard.rs"]
pub mod guard;
#[path = "pass/guard_of_several.rs"]
pub mod guard_of_several;
#[path = "pass/hostile_names.rs"]
pub mod hostile_names;
#[path = "pass/impl_trait_arguments.rs"]
pub mod impl_trait_arguments;
#[path = "pass/impl_trait_returned.rs"]
pub mod impl_trait_returned;
#[path = "pass/in_blocks_and_modules.rs"]
pub mod in_blocks_and_modules;
#[path = "pass/instrumented.rs"]
pub mod instrumented;
#[path = "pass/key_alone.rs"]
pub mod key_alone;
#[path = "pass/key_awaited.rs"]
pub mod key_awaited;
#[path = "pass/key_const_parameters.rs"]
pub mod key_const_parameters;
#[path = "pass/key_escapes.rs"]
pub mod key_escapes;
#[path = "pass/key_expressions.rs"]
pub mod key_expressions;
#[path = "pass/key_fallible.rs"]
pub mod key_fallible;
#[path = "pass/key_fields.rs"]
pub mod key_fields;
#[path = "pass/key_formats.rs"]
pub mod key_formats;
#[path = "pass/key_lists.rs"]
pub mod key_lists;
#[path = "pass/key_methods.rs"]
pub mod key_methods;
#[path = "pass/key_names.rs"]
pub mod key_names;
#[path = "pass/lifetimes.rs"]
pub mod lifetimes;
#[path = "pass/lints.rs"]
pub mod lints;
#[path = "pass/locker.rs"]
pub mod locker;
#[path = "pass/macro_rules_functions.rs"]
pub mod macro_rules_functions;
#[path = "pass/macro_rules_methods.rs"]
pub mod macro_rules_methods;
#[path = "pass/map_err.rs"]
pub mod map_err;
#[path = "pass/modes.rs"]
pub mod modes;
#[path = "pass/modes_as_expressions.rs"]
pub mod modes_as_expressions;
#[path = "pass/modes_of_keys.rs"]
pub mod modes_of_keys;
#[path = "pass/nested_deep.rs"]
pub mod nested_deep;
#[path = "pass/no_implicit_prelude.rs"]
pub mod no_implicit_prelude;
#[path = "pass/on_contended.rs"]
pub mod on_contended;
#[path = "pass/on_contended_with_arguments.rs"]
pub mod on_contended_with_arguments;
#[path = "pass/output_alias.rs"]
pub mod output_alias;
#[path = "pass/output_coerced.rs"]
pub mod output_coerced;
#[path = "pass/output_converted.rs"]
pub mod output_converted;
#[path = "pass/output_never.rs"]
pub mod output_never;
#[path = "pass/output_shadowed.rs"]
pub mod output_shadowed;
#[path = "pass/patterns.rs"]
pub mod patterns;
#[path = "pass/receivers_by_reference.rs"]
pub mod receivers_by_reference;
#[path = "pass/receivers_by_value.rs"]
pub mod receivers_by_value;
#[path = "pass/receivers_in_pointers.rs"]
pub mod receivers_in_pointers;
#[path = "pass/times_as_expressions.rs"]
pub mod times_as_expressions;
#[path = "pass/times_as_text.rs"]
pub mod times_as_text;
#[path = "pass/tokio_attributes.rs"]
pub mod tokio_attributes;
#[path = "pass/trait_methods.rs"]
pub mod trait_methods;
#[path = "pass/two_locks.rs"]
pub mod two_locks;

#[cfg(test)]
mod tests {
    use std::fs;

    #[test]
    fn nothing_is_left_out() {
        let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/pass")).expect("a folder");
        for file in files {
            let name = file.expect("a file").file_name();
            let path = format!("#[path = \"pass/{}\"]", name.display());
            assert!(include_str!("pass.rs").contains(&path), "{path} is missing");
        }
    }
}

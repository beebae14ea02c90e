//! Walks the tree of a template and writes its output.

use std::time::Instant;

use super::html::HtmlWriter;
use super::parse::{Arg, ArgKind, Branch, Command, Node, Pipe};
use super::value::Value;
use super::{FuncMap, MissingKey, Named, Options, Template, TemplateError, funcs, printf, time};
use crate::text::span::line_column;

/// Deepest nesting of `{{template}}`. Go allows far more on its growing stacks.
const MAX_CALLS: usize = 128;
/// Deepest nesting of blocks and pipelines, those of called templates included; keeps the stack under 1 MB.
const MAX_DEPTH: usize = 400;
/// How many steps pass between looks at the clock.
const STEPS_PER_CLOCK: u64 = 256;

pub(super) fn execute(
    set: &Template,
    name: &str,
    data: &Value,
    funcs: &FuncMap,
    options: &Options,
) -> Result<String, TemplateError> {
    let Some(named) = set.named.get(name) else {
        return Err(TemplateError {
            name: set.name.clone(),
            line: 1,
            column: None,
            message: format!("no template {name:?} is defined"),
        });
    };
    let mut exec = Exec {
        set,
        funcs,
        options,
        out: if options.html { Output::Html(HtmlWriter::new()) } else { Output::Text(String::new()) },
        vars: vec![("$".to_owned(), data.clone())],
        steps: 0,
        calls: 0,
        depth: 0,
        started: Instant::now(),
        current: named,
        current_name: name.to_owned(),
    };
    exec.walk(data, &named.tree.nodes)?;
    Ok(exec.out.into_string())
}

enum Output {
    Text(String),
    Html(HtmlWriter),
}

impl Output {
    fn into_string(self) -> String {
        match self {
            Output::Text(s) => s,
            Output::Html(w) => w.into_string(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Output::Text(s) => s.len(),
            Output::Html(w) => w.len(),
        }
    }
}

/// What a list of nodes ended with.
#[derive(PartialEq)]
enum Flow {
    Normal,
    Break,
    Continue,
}

type Res<T> = Result<T, TemplateError>;

struct Exec<'a> {
    set: &'a Template,
    funcs: &'a FuncMap,
    options: &'a Options,
    out: Output,
    vars: Vec<(String, Value)>,
    steps: u64,
    calls: usize,
    depth: usize,
    started: Instant,
    current: &'a Named,
    current_name: String,
}

impl<'a> Exec<'a> {
    fn fail<T>(&self, pos: usize, node: &str, message: impl AsRef<str>) -> Res<T> {
        let source = &self.current.source;
        let before = source.get(..pos).unwrap_or(source);
        let column = before.len() - before.rfind('\n').map_or(0, |i| i + 1);
        Err(TemplateError {
            name: self.current.parse_name.to_string(),
            line: line_column(source, pos).0,
            column: Some(column),
            message: format!("executing {:?} at <{node}>: {}", self.current_name, message.as_ref()),
        })
    }

    fn fail_at<T>(&self, arg: &Arg, message: impl AsRef<str>) -> Res<T> {
        self.fail(arg.pos, &arg.to_string(), message)
    }

    fn step(&mut self, pos: usize) -> Res<()> {
        self.steps += 1;
        let limits = &self.options.limits;
        if self.steps > limits.steps {
            return self.fail(pos, "limit", format!("more than {} steps", limits.steps));
        }
        if self.out.len() > limits.output_bytes {
            return self.fail(pos, "limit", format!("output over {} bytes", limits.output_bytes));
        }
        if self.steps.is_multiple_of(STEPS_PER_CLOCK) && self.started.elapsed() > limits.time {
            return self.fail(pos, "limit", format!("longer than {:?}", limits.time));
        }
        Ok(())
    }

    fn enter(&mut self, pos: usize) -> Res<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail(pos, "limit", format!("nested deeper than {MAX_DEPTH}"));
        }
        Ok(())
    }

    fn walk(&mut self, dot: &Value, nodes: &'a [Node]) -> Res<Flow> {
        self.enter(0)?;
        let vars = self.vars.len();
        let mut flow = Flow::Normal;
        for node in nodes {
            flow = self.node(dot, node)?;
            if flow != Flow::Normal {
                break;
            }
        }
        self.vars.truncate(vars);
        self.depth -= 1;
        Ok(flow)
    }

    fn node(&mut self, dot: &Value, node: &'a Node) -> Res<Flow> {
        match node {
            Node::Text(text) => {
                self.step(0)?;
                match &mut self.out {
                    Output::Text(s) => s.push_str(text),
                    Output::Html(w) => w.literal(text),
                }
            }
            Node::Action(pipe) => {
                let value = self.pipeline(dot, pipe)?;
                if pipe.declare.is_empty() {
                    self.print(&value, pipe)?;
                }
            }
            Node::If(branch) => return self.condition(dot, branch, false),
            Node::With(branch) => return self.condition(dot, branch, true),
            Node::Range(branch) => return self.range(dot, branch),
            Node::Template { pos, name, pipe } => self.call_template(dot, *pos, name, pipe.as_ref())?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Normal)
    }

    fn print(&mut self, value: &Value, pipe: &Pipe) -> Res<()> {
        if let Value::Func(_) = value {
            return self.fail(pipe_pos(pipe), &pipe.to_string(), "can't print a function");
        }
        match &mut self.out {
            Output::Text(s) => match value {
                Value::Nil => s.push_str("<no value>"),
                Value::Str(t) | Value::Safe(_, t) => s.push_str(t),
                v => s.push_str(&printf::format_value(v)),
            },
            Output::Html(w) => w.value(value),
        }
        Ok(())
    }

    fn condition(&mut self, dot: &Value, branch: &'a Branch, with: bool) -> Res<Flow> {
        let vars = self.vars.len();
        let value = self.pipeline(dot, &branch.pipe)?;
        let flow = match (value.truth(), with) {
            (true, true) => self.walk(&value, &branch.body)?,
            (true, false) => self.walk(dot, &branch.body)?,
            (false, _) => self.walk(dot, &branch.otherwise)?,
        };
        self.vars.truncate(vars);
        Ok(flow)
    }

    fn range(&mut self, dot: &Value, branch: &'a Branch) -> Res<Flow> {
        let vars = self.vars.len();
        // The variables of a range are set for each item, not by the pipeline.
        let value = self.commands(dot, &branch.pipe)?;
        let items: Vec<(Value, Value)> = match (value.as_list(), value.as_map(), &value) {
            (Some(list), _, _) => {
                list.iter().enumerate().map(|(i, v)| (Value::Int(i64::try_from(i).unwrap_or(0)), v.clone())).collect()
            }
            (_, Some(map), _) => map.iter().map(|(k, v)| (Value::str(k), v.clone())).collect(),
            (_, _, Value::Int(n)) => {
                let limit = i64::try_from(self.options.limits.steps).unwrap_or(i64::MAX);
                (0..(*n).clamp(0, limit)).map(|i| (Value::Int(i), Value::Int(i))).collect()
            }
            (_, _, Value::Nil) => Vec::new(),
            (_, _, v) => {
                let message = format!("range can't iterate over {}", printf::format_value(v));
                return self.fail(pipe_pos(&branch.pipe), &branch.pipe.to_string(), message);
            }
        };
        if items.is_empty() {
            let flow = self.walk(dot, &branch.otherwise)?;
            self.vars.truncate(vars);
            return Ok(flow);
        }
        let declare = &branch.pipe.declare;
        for (key, item) in items {
            match declare.as_slice() {
                [one] => self.bind(one, item.clone(), branch)?,
                [index, one] => {
                    self.bind(index, key, branch)?;
                    self.bind(one, item.clone(), branch)?;
                }
                _ => {}
            }
            let flow = self.walk(&item, &branch.body)?;
            self.vars.truncate(vars);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Normal)
    }

    fn bind(&mut self, name: &str, value: Value, branch: &Branch) -> Res<()> {
        if branch.pipe.assign {
            return self.assign(name, value, &branch.pipe);
        }
        self.vars.push((name.to_owned(), value));
        Ok(())
    }

    fn assign(&mut self, name: &str, value: Value, pipe: &Pipe) -> Res<()> {
        match self.vars.iter_mut().rev().find(|(n, _)| n == name) {
            Some((_, slot)) => {
                *slot = value;
                Ok(())
            }
            None => self.fail(pipe_pos(pipe), &pipe.to_string(), format!("undefined variable: {name}")),
        }
    }

    fn call_template(&mut self, dot: &Value, pos: usize, name: &str, pipe: Option<&'a Pipe>) -> Res<()> {
        let shown = || match pipe {
            Some(p) => format!("{{{{template {name:?} {p}}}}}"),
            None => format!("{{{{template {name:?}}}}}"),
        };
        let Some(named) = self.set.named.get(name) else {
            return self.fail(pos, &shown(), format!("template {name:?} not defined"));
        };
        if self.calls >= MAX_CALLS {
            return self.fail(pos, &shown(), format!("exceeded maximum template depth ({MAX_CALLS})"));
        }
        let value = match pipe {
            Some(p) => self.pipeline(dot, p)?,
            None => Value::Nil,
        };
        self.calls += 1;
        let vars = std::mem::replace(&mut self.vars, vec![("$".to_owned(), value.clone())]);
        let caller = std::mem::replace(&mut self.current, named);
        let caller_name = std::mem::replace(&mut self.current_name, name.to_owned());
        self.walk(&value, &named.tree.nodes)?;
        self.vars = vars;
        self.current = caller;
        self.current_name = caller_name;
        self.calls -= 1;
        Ok(())
    }

    fn pipeline(&mut self, dot: &Value, pipe: &'a Pipe) -> Res<Value> {
        let value = self.commands(dot, pipe)?;
        if let [name] = pipe.declare.as_slice() {
            if pipe.assign {
                self.assign(name, value.clone(), pipe)?;
            } else {
                self.vars.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    fn commands(&mut self, dot: &Value, pipe: &'a Pipe) -> Res<Value> {
        self.enter(pipe_pos(pipe))?;
        let mut value = None;
        for command in &pipe.commands {
            self.step(pipe_pos(pipe))?;
            value = Some(self.command(dot, command, value)?);
        }
        self.depth -= 1;
        Ok(value.unwrap_or(Value::Nil))
    }

    fn command(&mut self, dot: &Value, command: &'a Command, piped: Option<Value>) -> Res<Value> {
        let Some((first, args)) = command.args.split_first() else { return Ok(Value::Nil) };
        match &first.kind {
            ArgKind::Function(name) => self.function(dot, first, name, args, piped),
            ArgKind::Field(names) => self.fields(dot, dot.clone(), first, names, args, piped),
            ArgKind::Variable(name, names) if !names.is_empty() => {
                let value = self.variable(name, first)?;
                self.fields(dot, value, first, names, args, piped)
            }
            ArgKind::Chain(inner, names) => {
                let value = self.arg(dot, inner)?;
                self.fields(dot, value, first, names, args, piped)
            }
            _ if !args.is_empty() || piped.is_some() => {
                self.fail_at(first, format!("can't give argument to non-function {first}"))
            }
            ArgKind::Nil => self.fail_at(first, "nil is not a command"),
            _ => self.arg(dot, first),
        }
    }

    fn variable(&self, name: &str, arg: &Arg) -> Res<Value> {
        match self.vars.iter().rev().find(|(n, _)| n == name) {
            Some((_, v)) => Ok(v.clone()),
            None => self.fail_at(arg, format!("undefined variable: {name}")),
        }
    }

    fn arg(&mut self, dot: &Value, arg: &'a Arg) -> Res<Value> {
        match &arg.kind {
            ArgKind::Dot => Ok(dot.clone()),
            ArgKind::Nil => Ok(Value::Nil),
            ArgKind::Bool(b) => Ok(Value::Bool(*b)),
            ArgKind::Int(i) => Ok(Value::Int(*i)),
            ArgKind::Float(f) => Ok(Value::Float(*f)),
            ArgKind::Str { value, .. } => Ok(Value::str(value)),
            ArgKind::Function(name) => self.function(dot, arg, name, &[], None),
            ArgKind::Field(names) => self.fields(dot, dot.clone(), arg, names, &[], None),
            ArgKind::Variable(name, names) => {
                let value = self.variable(name, arg)?;
                self.fields(dot, value, arg, names, &[], None)
            }
            ArgKind::Chain(inner, names) => {
                let value = self.arg(dot, inner)?;
                self.fields(dot, value, arg, names, &[], None)
            }
            ArgKind::Pipe(pipe) => self.pipeline(dot, pipe),
        }
    }

    /// Follows a chain of names; arguments go to the last.
    fn fields(
        &mut self,
        dot: &Value,
        start: Value,
        node: &'a Arg,
        names: &'a [String],
        args: &'a [Arg],
        piped: Option<Value>,
    ) -> Res<Value> {
        let Some((last, init)) = names.split_last() else { return Ok(start) };
        let mut value = start;
        for name in init {
            value = self.field(&value, name, node, &[], false)?;
        }
        let mut values = Vec::with_capacity(args.len() + 1);
        for a in args {
            values.push(self.arg(dot, a)?);
        }
        let has_args = !values.is_empty() || piped.is_some();
        values.extend(piped);
        self.field(&value, last, node, &values, has_args)
    }

    fn field(&mut self, value: &Value, name: &str, node: &Arg, args: &[Value], has_args: bool) -> Res<Value> {
        let called = match value {
            Value::Object(o) => o.method(name, args),
            Value::Time(t) => t.method(name, args),
            Value::Duration(d) => time::duration_method(*d, name, args),
            _ => None,
        };
        if let Some(result) = called {
            return match result {
                Ok(v) => Ok(v),
                Err(e) => self.fail_at(node, format!("error calling {name}: {e}")),
            };
        }
        let found = match value {
            Value::Object(o) => o.field(name),
            _ => None,
        };
        let found = match (found, value.as_map()) {
            (Some(v), _) => Some(v),
            (None, Some(map)) => match map.get(name) {
                Some(v) => Some(v.clone()),
                None => Some(match self.options.missing_key {
                    MissingKey::Zero => value.zero_of_map(),
                    MissingKey::Invalid => Value::Nil,
                    MissingKey::Error => return self.fail_at(node, format!("map has no entry for key {name:?}")),
                }),
            },
            (None, None) => None,
        };
        match found {
            Some(Value::Func(f)) if has_args => {
                f.call(args).or_else(|e| self.fail_at(node, format!("error calling {name}: {e}")))
            }
            Some(_) if has_args => {
                self.fail_at(node, format!("{name} has arguments but cannot be invoked as function"))
            }
            Some(v) => Ok(v),
            None if matches!(value, Value::Nil) => self.fail_at(node, format!("nil data; no entry for key {name:?}")),
            None => self.fail_at(node, format!("can't evaluate field {name} in type {}", value.type_name())),
        }
    }

    fn function(
        &mut self,
        dot: &Value,
        node: &'a Arg,
        name: &str,
        args: &'a [Arg],
        piped: Option<Value>,
    ) -> Res<Value> {
        let own = self.funcs.get(name);
        if own.is_none() && matches!(name, "and" | "or") {
            return self.short_circuit(dot, node, name == "or", args, piped);
        }
        let mut values = Vec::with_capacity(args.len() + 1);
        for a in args {
            values.push(self.arg(dot, a)?);
        }
        values.extend(piped);
        let result = match own {
            Some(f) => f.call(&values),
            None => {
                funcs::call_builtin(name, &values).unwrap_or_else(|| Err(format!("{name:?} is not a defined function")))
            }
        };
        result.or_else(|e| {
            let mut shown = node.to_string();
            for a in args {
                shown.push(' ');
                shown.push_str(&a.to_string());
            }
            self.fail(node.pos, &shown, format!("error calling {name}: {e}"))
        })
    }

    /// `and` and `or` stop at the first operand that decides.
    fn short_circuit(
        &mut self,
        dot: &Value,
        node: &'a Arg,
        decides: bool,
        args: &'a [Arg],
        piped: Option<Value>,
    ) -> Res<Value> {
        let mut value = None;
        for a in args {
            let v = self.arg(dot, a)?;
            if v.truth() == decides {
                return Ok(v);
            }
            value = Some(v);
        }
        match piped.or(value) {
            Some(v) => Ok(v),
            None => self.fail_at(node, format!("wrong number of args for {node}: want at least 1 got 0")),
        }
    }
}

fn pipe_pos(pipe: &Pipe) -> usize {
    pipe.commands.first().and_then(|c| c.args.first()).map_or(0, |a| a.pos)
}
